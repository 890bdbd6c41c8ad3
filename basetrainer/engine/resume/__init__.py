"""Saving a run while it trains, and continuing it."""
