"""What the Approaches screen is made of: its table, its picture, the advice and the runs below it, its keys."""
