"""Make networks smaller: channels are removed, and the rest is trained on."""
