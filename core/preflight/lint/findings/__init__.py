"""What lint finds in data: one file a finding, found by listing this folder; core/lint/__init__.py says what it has."""
