"""Whether a drop is proven: the betting tests, the order of items, the verdict. Pure functions of scores."""
