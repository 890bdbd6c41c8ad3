"""Scripts that measure what the documentation says."""
