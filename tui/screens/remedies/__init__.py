"""The Remedies screen: its table, its picture, what it says around them, its keys."""
