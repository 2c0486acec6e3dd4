"""A home whose supervisor is in the test's own process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from still import Still, still


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Still]:
    made = still(tmp_path / "home")
    yield made
    made.supervisor.connection.close()
