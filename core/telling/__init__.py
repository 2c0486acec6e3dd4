"""Sends on what a person should hear of: the form of a message, and what gives it to a command or a webhook."""
