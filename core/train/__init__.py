"""Training: the loop, and what can be chosen for it (methods, objectives, protections, rewards, alarms).

Runs in training jobs. Listing plug-ins imports no torch. Imports check, models, data and what is below them.
"""
