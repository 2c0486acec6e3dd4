"""Suites, tasks and their items, and which items the training data contains."""
