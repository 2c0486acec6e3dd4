"""Whether a drop is proven: the betting tests, the order of items, the verdict. Pure functions of scores."""

NORMAL_95 = 1.959964  # standard errors on each side of a 95 % interval
