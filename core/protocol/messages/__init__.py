"""Requests and their answers, a file per topic."""
