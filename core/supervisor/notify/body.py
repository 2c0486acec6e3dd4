"""The JSON of a message: the same on a command's standard input and in a webhook's body.

{"finetop": 1, "id": "1767225600000001", "home": "/home/ana/.finetop", "host": "gpu-box-3", "run": "support-r16",
 "run_id": 7, "kind": "spike", "step": 312, "text": "support-r16: spike: the loss rose to 4.03, from 1.21",
 "time": "2026-01-01T00:00:00+00:00", "more": 41}

An id is repeated if the first try may have arrived. `run` is null if the message is about the whole home; `more` counts
what is left out: of the same run and kind, or of others if `kind` is many.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.protocol.notices import MANY, TEST, Notice
from finetop.core.text import clean_line, counted

FORMAT = 1
TEXT = 1000  # characters


def body(root: Path, notice: Notice, more: int = 0) -> str:
    """Return the message of one notice, the newest of `more` + 1 of its run and kind."""
    run = clean_line(notice.run) or None
    text = f"{run}: {notice.text}" if run else notice.text
    return _json(root, notice, run, f"{clean_line(text)[:TEXT]}{f' (and {more} more)' if more else ''}", more)


def digest(root: Path, groups: Sequence[tuple[Notice, int]]) -> str:
    """Return one message for many notices of several runs or kinds; each group has its count of further notices."""
    newest = max(groups, key=lambda group: group[0].id)[0]
    kinds: Counter[str] = Counter()
    for notice, more in groups:
        kinds[notice.kind] += 1 + more
    total = sum(kinds.values())
    runs = len({notice.run_id for notice, _ in groups})
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    text = f"and {total} more of {counted(runs, 'run')}: {counts}"
    return _json(root, msgspec.structs.replace(newest, run_id=0, kind=MANY, step=None), None, text, total)


def test_message(root: Path, at: float) -> str:
    """Return a test message."""
    text = f"test: finetop on {platform.node()} can notify you"
    return body(root, Notice(int(at * 1e6), 0, "", TEST, None, text, at))


def _json(root: Path, notice: Notice, run: str | None, text: str, more: int) -> str:
    fields: dict[str, Any] = {
        "finetop": FORMAT,
        "id": str(notice.id),
        "home": str(root),
        "host": platform.node(),
        "run": run,
        "run_id": notice.run_id or None,
        "kind": notice.kind,
        "step": notice.step,
        "text": text,
        "time": datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds"),
        "more": more,
    }
    return msgspec.json.encode(fields).decode()
