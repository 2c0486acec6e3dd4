"""The machines whose runs are shown, and the live connection to each."""
