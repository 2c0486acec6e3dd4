"""What lint finds in data: one file a finding, found by listing this folder; its parent says what it has."""
