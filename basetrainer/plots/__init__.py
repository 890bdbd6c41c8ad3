"""Figures in, pictures out."""
