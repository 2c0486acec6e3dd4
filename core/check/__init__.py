"""Did the model forget? Tasks, scoring and statistics behind one verdict against the base.

Runs in check jobs; statistics and verdicts are read anywhere. Imports models, data and what is below them.
"""
