"""Actions on runs and displays of their state that several screens share."""
