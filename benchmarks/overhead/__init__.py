"""What training loops cost around the same step: this library, its peers, and loops by hand."""
