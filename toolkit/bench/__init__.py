"""Benchmarks: speed as ratios of paired runs, because machines are shared and noisy."""
