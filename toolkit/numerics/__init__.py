"""Blend weights, merges and metrics: torch and einops, one process."""
