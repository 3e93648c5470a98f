"""Sweeps: one function over many points, with all that became of them kept."""
