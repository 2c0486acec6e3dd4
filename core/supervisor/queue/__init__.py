"""Which job is next, why the others wait, and what people and rules do to the queue."""
