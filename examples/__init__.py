"""Programs to learn from; run them from the root of the repository."""
