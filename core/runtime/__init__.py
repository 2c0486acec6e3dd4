"""One machine: the home folder, files, locks, processes, GPUs, and the keeper of a job.

Used by every process. Imports wording, protocol and what is below them.
"""
