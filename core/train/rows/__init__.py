"""The rows of a run: where they come from, and what a trainer gets of each."""
