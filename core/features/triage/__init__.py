"""Regressions: which run lost what, down to the item, and what became of them."""
