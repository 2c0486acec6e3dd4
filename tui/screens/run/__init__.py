"""What the Run screen is made of: its head, its tabs, its keys, and what it holds of its run."""
