"""Useful steps per hour of a training that is killed again and again, here and elsewhere."""
