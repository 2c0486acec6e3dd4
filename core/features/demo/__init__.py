"""The whole story, small: train, check, verdict."""
