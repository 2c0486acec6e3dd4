"""Which job is next, why the others wait, and changes of the queue by users and rules."""
