"""After a run: comparison with a reference, scaling, and the times and memory of stages."""
