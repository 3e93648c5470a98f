"""What a run leaves behind (trace, memory, record) and how it compares with a reference."""
