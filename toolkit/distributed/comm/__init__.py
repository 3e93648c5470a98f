"""How ranks communicate: groups, messages between two ranks, and what happens when a rank fails."""
