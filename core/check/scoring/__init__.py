"""How a model is scored: log-probabilities and answers, prefixes run once, cached by all that affects a score."""
