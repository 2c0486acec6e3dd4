"""The Approaches screen: its table, its chart, the advice and runs below them, and its keys."""
