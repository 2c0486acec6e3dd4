"""A snapshot of each important state of a screen, at 80x24 and 120x40."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tui_fakes import ROW, FakeSupervisor, make_app, mixed_rows, settled

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [(80, 24), (120, 40)]
IDS = [
    "runs",
    "runs-stop",
    "runs-empty",
    "runs-filter",
    "runs-grouped-fault",
    "runs-marked",
    "help",
    "launch",
]
IDS += ["launch-error"]


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ("mixed", []),
        ("mixed", ["j", "j", "j", "S"]),
        ("none", []),
        ("mixed", ["slash", "q"]),
        ("mixed", ["slash", *"group:method", "space", *"los<1"]),
        ("mixed", ["space", "space", "j", "t", *"+keep"]),
        ("mixed", ["question_mark"]),
        ("mixed", ["4"]),
        ("mixed", ["4", "enter", "enter", *"faq.jsonl", "enter", "j", "j", "enter", "ctrl+u", "0", "enter"]),
    ],
    ids=IDS,
)
def test_picture(
    snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int], rows: str, keys: list[str]
) -> None:
    (tmp_path / "faq.jsonl").write_text(ROW * 40)
    app = make_app(FakeSupervisor(mixed_rows() if rows == "mixed" else []), tmp_path)

    async def press(pilot: Any) -> None:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
        await settled(pilot, 0.3)
        shutil.rmtree(tmp_path, ignore_errors=True)

    assert snap_compare(app, terminal_size=size, run_before=press)
