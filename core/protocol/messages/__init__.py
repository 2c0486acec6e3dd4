"""Requests and their answers, a file for each thing that is asked about."""
