"""What a trained network is good for: from the folder of a run to predictions."""
