"""One machine: the home folder, files, locks, processes, GPUs, the keeper, a job's process, what a failure is."""
