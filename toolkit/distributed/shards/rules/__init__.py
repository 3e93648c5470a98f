"""What each family of operations does to shards: one rule per family."""
