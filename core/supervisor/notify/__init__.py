"""Notifies people of events by the ways that the home's settings name. Its part of a beat never waits.

`compose` makes messages of notices (store/notices.py), `deliver` sends them. At least once: a supervisor that is killed
between sending a message and recording that sends it again, under the same id.
"""
