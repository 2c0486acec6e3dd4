"""What a model scores: its log-probabilities and answers, shared work done once, kept by all that can move it."""
