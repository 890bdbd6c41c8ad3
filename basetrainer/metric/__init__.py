"""Figures beside the loss."""
