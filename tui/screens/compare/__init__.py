"""What the Compare screen is made of: what it holds of its runs, how its tabs are drawn, its keys."""
