"""The store: DuckDB, and the only SQL of the project. Opened by the supervisor alone."""
