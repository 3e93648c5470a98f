"""How the ranks of a cluster are started and reached: the seam between a cluster and what runs its ranks."""
