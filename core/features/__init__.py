"""Features, a folder each: all that finetop can do beside runs, jobs, checks and the queue.

The kernel imports none of them. It finds their doors by listing this folder (core/plugins.py): messages, commands,
requests, sql and so on. A feature imports the kernel, and those listed before it in pyproject.toml.
"""
