"""Parts that listen."""
