"""What is wrong with this machine or home, and what to do about it."""
