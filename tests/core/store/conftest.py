"""The store of a test."""

import pytest
from store_rows import empty_database

from finetop.core.store.database import open_store


@pytest.fixture
def connection(tmp_path):
    """An empty store, copied: its migrations take longer than most tests."""
    file = tmp_path / "finetop.duckdb"
    file.write_bytes(empty_database())
    store = open_store(file)
    yield store
    store.close()
