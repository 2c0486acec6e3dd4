"""Models that were made elsewhere: what their folders hold, whether it fits the base, and how they become runs."""
