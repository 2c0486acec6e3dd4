"""Data of `finetop demo`: questions to an invented workshop, answered in its own voice."""
