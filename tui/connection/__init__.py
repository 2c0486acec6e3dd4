"""The machines that are looked at, and what is heard of each."""
