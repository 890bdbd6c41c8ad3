"""A run on disk: what it needs to go on, written whole and read with suspicion."""
