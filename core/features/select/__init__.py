"""Which rows of a data set to train on, by selectors that are a file each."""
