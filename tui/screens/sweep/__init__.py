"""What the Sweep screen is made of: its rows, its picture, what it says around them, its keys."""
