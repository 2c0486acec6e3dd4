"""Rows: where they come from, how they are read and rendered, and which version of them it is.

Runs in jobs, in lint and in plan. Imports recipe and what is below it; no model.
"""
