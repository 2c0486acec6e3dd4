"""The Runs screen: the rows it holds, how they are drawn, its keys and its pane."""
