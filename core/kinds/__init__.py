"""The kernel's kinds of jobs, a file each; features have theirs in kind.py."""
