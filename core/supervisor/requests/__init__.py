"""The requests that clients make to the supervisor, grouped by topic, one function each."""
