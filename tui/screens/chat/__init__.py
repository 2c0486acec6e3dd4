"""The Chat screen: two models answer the same prompts side by side."""
