"""The programs that trained the demo models. Nothing else needs them."""
