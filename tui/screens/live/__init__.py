"""The Live screen: one tile for each running job, on all machines."""
