"""What is looked at before a GPU is spent: the plan, the data, and which rows to take."""
