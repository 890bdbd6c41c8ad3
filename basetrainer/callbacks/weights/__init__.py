"""The files of weights, and what stands beside them."""
