"""What knows that there may be other processes."""
