"""Checks for your own trainer, one line of pytest each."""
