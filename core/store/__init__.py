"""DuckDB: all SQL of the project but for that of features, in files named sql.py.

Runs in the supervisor, which is the only process that opens the database. Imports recipe and what is below it, and
from approaches and remedies what they keep in it.
"""
