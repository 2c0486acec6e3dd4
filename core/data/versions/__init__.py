"""Versions of training data: the hashes of its rows, what differs, and what a file was made of."""
