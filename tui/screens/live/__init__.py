"""What the Live screen is made of: a tile for each run that goes on, on all machines."""
