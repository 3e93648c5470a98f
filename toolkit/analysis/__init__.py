"""After a run: comparisons with a reference, scaling, the times and memory of stages."""
