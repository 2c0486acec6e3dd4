"""The process behind a home: takes in events, keeps the queue, starts and ends jobs, answers requests.

One for each home, started on demand; the only one that opens the store. Imports the store and what
is below it, but no torch.
"""
