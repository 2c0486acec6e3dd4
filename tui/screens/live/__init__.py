"""What the Live screen is made of: a tile for each job that runs, on all machines."""
