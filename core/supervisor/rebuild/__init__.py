"""Rebuilds the database from the run folders."""
