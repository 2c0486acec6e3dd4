"""What the Runs screen is made of: the rows it holds, how one is drawn, its keys and its pane."""
