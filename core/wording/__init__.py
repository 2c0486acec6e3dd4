"""What is said in words, the same in the app and on the command line: a file a topic."""
