"""Models made elsewhere: what their folders contain, whether they fit the base, and how they become runs."""
