"""The Queue screen: machines with their GPUs, running and waiting jobs, and its keys."""
