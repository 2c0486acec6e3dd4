"""What several screens do with a run, and how they show its state."""
