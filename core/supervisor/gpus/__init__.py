"""GPUs as the supervisor sees them: capacity, users, placement of jobs."""
