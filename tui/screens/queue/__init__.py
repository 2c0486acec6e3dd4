"""What the Queue screen shows: the machines with their GPUs, what runs and what waits, and what its keys ask."""
