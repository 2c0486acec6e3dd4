"""The filter language of the list of runs: a line of text as plain data, and which runs it holds for."""
