"""Rows: where they come from, how they read, what they are made into, and which version of them it is."""
