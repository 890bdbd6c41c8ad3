"""The files and pictures in which a run keeps its metrics."""
