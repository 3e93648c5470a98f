"""Before a run: what a plan would cost in time and memory, and which plan to choose."""
