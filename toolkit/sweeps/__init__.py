"""Sweeps: one function called at many points, with every result and failure kept."""
