"""Will a run fit in memory, and how long will it take: answered from a recipe and a config.json.

Runs in the app, in commands and in the supervisor, and loads no weights; the meta-device rehearsal is a process of
its own. Imports train by name only, and what is below it.
"""
