"""The Run screen: its head, tabs and keys, and the data it holds of its run."""
