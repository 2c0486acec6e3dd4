"""Runs that differ in some settings, queued and looked at together."""
