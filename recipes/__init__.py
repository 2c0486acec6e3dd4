"""Built-in recipes: one YAML file each, whose header says what it is for and how to run it."""
