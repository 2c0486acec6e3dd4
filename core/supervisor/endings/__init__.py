"""What the supervisor does when a job ends, hangs or dies: why it ended, and what follows.

Runs in the supervisor. Imports the launchers, the queue and the rooms below the supervisor.
"""
