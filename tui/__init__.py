"""The app: screens of a home, or of several, in a terminal that may be far away.

One process. Imports core's client, protocol, wording, recipe and plan; never the store, the supervisor or torch.
"""
