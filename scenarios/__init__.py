"""Trainings and trials that the tests and the benchmarks share; neither imports the other.

A module here sets something up, or lets something happen, and returns what came of it. The tests
say what must come of it, a small part at a time; a program of the same name in ``benchmarks/``
tries all of it, for minutes or hours, and prints a table.
"""
