"""What a failed run reports, and how."""
