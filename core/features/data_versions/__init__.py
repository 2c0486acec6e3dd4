"""Versions of training data: the hashes of its rows, how versions differ, and what a file was made from."""
