"""The Compare screen: the runs it holds, how its tabs are drawn, and its keys."""
