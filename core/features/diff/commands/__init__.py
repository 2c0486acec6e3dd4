"""Its verbs, a file each."""
