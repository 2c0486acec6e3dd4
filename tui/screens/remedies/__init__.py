"""How remedies are drawn: pure functions from what the supervisor answers to lines."""
