"""The same verdict on logs that lm-evaluation-harness wrote elsewhere."""
