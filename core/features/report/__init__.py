"""A run, a comparison of approaches or a check as one page for a colleague."""
