"""Whether jobs that live go on, how they ended, and what follows then."""
