"""Tells a person what happened, by the ways that the home's settings name: a beat's share of it, which never waits.

Notices (store/notices.py) become messages by `compose`, messages are sent by `deliver`. At least once: a supervisor
that is killed between sending a message and writing that down sends it again, under the same id.
"""
