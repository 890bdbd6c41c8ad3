"""Tools with no idea what a training loop is."""
