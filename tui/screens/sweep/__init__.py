"""The Sweep screen: its rows, its chart, the text around them, and its keys."""
