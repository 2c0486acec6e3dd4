"""The requests that clients make of the supervisor, each answered by a function beside its like."""
