"""The Remedies screen: its table, its chart, the text around them, and its keys."""
