"""How the ranks of a cluster are started and reached."""
