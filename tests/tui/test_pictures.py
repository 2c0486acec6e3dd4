"""A snapshot of each important state of a screen, at 80x24 and 120x40."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tui_fakes import ROW, FakeSupervisor, make_app, mixed_rows

FILLED = ["4", "enter", "enter", *"faq.jsonl", "enter", "j", "j", "enter", "ctrl+u", "0", "enter"]
KEYS: dict[str, list[str]] = {
    "runs": [],
    "runs-stop": ["j", "j", "j", "S"],
    "runs-empty": [],
    "runs-filter": ["slash", "q"],
    "runs-grouped-fault": ["slash", *"group:method", "space", *"los<1"],
    "runs-marked": ["space", "space", "j", "t", *"+keep"],
    "help": ["question_mark"],
    "launch": ["4"],
    "launch-error": FILLED,
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("name", KEYS)
def test_picture(pictured: Any, tmp_path: Path, size: tuple[int, int], name: str) -> None:
    (tmp_path / "faq.jsonl").write_text(ROW * 40)
    app = make_app(FakeSupervisor([] if name == "runs-empty" else mixed_rows()), tmp_path)
    assert pictured(app, size, *KEYS[name])
