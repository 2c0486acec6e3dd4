"""Ways to run a job, a file each: this machine (`local`)."""
