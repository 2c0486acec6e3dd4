"""What the Launch screen is made of: the form as plain data, how it is drawn, the look at a training file."""
