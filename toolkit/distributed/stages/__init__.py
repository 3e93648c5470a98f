"""Stages: an unmodified pipeline over ranks that each hold some layers of its transformer."""
