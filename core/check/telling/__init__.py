"""A check's result in words and in the formats of others."""
