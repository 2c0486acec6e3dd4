"""What is wrong with the data, before a GPU is used: each row is read once, by findings that are a file each.

Runs in processes of its own: one reads lines and gathers what was seen, two workers read rows and count tokens.
Imports plan, select, models, data and what is below them.
"""
