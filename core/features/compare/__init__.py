"""Runs side by side: settings, data, metrics and verdicts that differ."""
