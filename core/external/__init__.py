"""Runs of other training programs: started or watched as they are, their numbers read from what they print and write.

Its jobs run in a job's process (`command`, `watch`) and import neither torch nor the database. It may import from
train's alarms, models' imports, recipe and below; it knows nothing of the supervisor.
"""
