"""What a run leaves behind: its output, trace, memory, peaks and record."""
