"""How ranks talk: groups, messages, and what a rank does when another one fails."""
