"""The other end of the supervisor's socket: one connection, other machines over ssh, answers put together.

Runs in the app and in commands. Never imports the store, the supervisor or the training stack.
"""
