"""Trainers for tasks of computer vision: each is an EngineTrainer that knows its data."""
