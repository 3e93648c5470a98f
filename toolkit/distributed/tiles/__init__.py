"""Tiles over ranks: each rank computes its own tiles and blends its own part of the output."""
