"""Images on disk, their labels, transforms and checks."""
