"""What is asked: suites, tasks and their items, how an answer is judged, which items the training data has."""
