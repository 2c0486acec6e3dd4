"""Files are searched for at each look, and nothing waits."""

import pytest

from finetop.core.external import numbers, search


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCH_S", 0.0)
    monkeypatch.setattr(search, "SEARCHES", 0)
    monkeypatch.setattr(numbers, "HOLD_S", 0.0)
