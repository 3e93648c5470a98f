"""Ranks on several hosts: an agent on each, and a keyed line from it to the kernel."""
