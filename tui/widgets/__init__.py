"""What several screens draw with: charts, tables, logs, lists and prompts."""
