"""What lies now where a run read its rows, and the rows that differ, as text."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core import formats
from finetop.core.data import stream_rows
from finetop.core.errors import FinetopError
from finetop.core.versions import Example, Now
from finetop.core.versions.rows import ROW_BYTES, Contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from finetop.core.versions import File
    from finetop.core.versions.differing import Compared, Hashes

READ_BYTES = 256 << 20  # of a file that is read again for a glance: 3 s
LOOK_S = 10.0  # for the rows of all examples together
SHOWN = 300  # characters of one row
BEFORE = 60  # of what two rows share in front of where they part
_KINDS: tuple[formats.Kind, ...] = ("conversation", "preference", "labelled", "prompt", "text")


def look(then: File) -> Now:
    """Say whether a file still holds what a run read of it. What was not written to since is not read again."""
    path = Path(then.path)
    try:
        facts = path.stat()
    except OSError:
        return Now("gone")
    if facts.st_size == then.size and facts.st_mtime == then.written:
        return Now("same", then.rows)
    if facts.st_size > READ_BYTES:
        return Now("unread")
    contents = Contents()
    try:
        for row in _rows(path, then.limit):
            contents.add(row)
    except FinetopError:
        return Now("changed")  # it can't be read as rows any more
    return Now("same" if contents.content == then.content else "changed", contents.rows)


def _rows(path: Path, limit: int | None = None) -> Iterator[dict[str, Any]]:
    for number, (_, row) in enumerate(stream_rows(path), 1):
        yield row
        if number == limit:
            return


def examples(
    compared: Compared, before: Hashes, after: Hashes, files: Sequence[str]
) -> tuple[list[Example], int]:
    """Find the rows that differ in the files as they are now. Returns them, and how many are in none any more."""
    wanted = [
        *((int(before[one]), int(after[other])) for one, other in compared.changed),
        *((int(before[one]), None) for one in compared.gone),
        *((None, int(after[one])) for one in compared.new),
    ]
    found = find({one for pair in wanted for one in pair if one is not None}, files)
    told: list[Example] = []
    for one, other in wanted:
        rows = [found.get(key) for key in (one, other) if key is not None]
        if None in rows:
            continue
        texts = [shown(row) for row in rows if row is not None]
        if len(texts) == 2:
            told.append(Example(*_from_where_they_part(*texts)))
        else:
            told.append(Example(*((_cut(texts[0]), "") if other is None else ("", _cut(texts[0])))))
    return told, len(wanted) - len(told)


def find(hashes: set[int], files: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Read rows by their hashes, wherever they now stand in these files."""
    found: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + LOOK_S
    for file in files:
        try:
            if len(found) == len(hashes) or Path(file).stat().st_size > READ_BYTES:
                continue
            for row in _rows(Path(file)):
                contents = Contents()
                contents.add(row)
                key = int.from_bytes(contents.hashes[:ROW_BYTES], "little")
                if key in hashes:
                    found[key] = row
                if len(found) == len(hashes) or time.monotonic() > deadline:
                    break
        except (OSError, FinetopError):
            continue  # it is gone, or holds no rows any more
    return found


def shown(row: Mapping[str, Any]) -> str:
    """Write a row as text: its turns, prompt -> answer, or else as it stands."""
    try:
        record = formats.read(row, "row", "auto", _KINDS)
    except FinetopError:
        return json.dumps(row, ensure_ascii=False)
    match record:
        case formats.Text(text):
            return text
        case formats.Preference(prompt, chosen, rejected):
            return f"{_turns(prompt)} -> {chosen} (not: {rejected})"
        case formats.Labelled(prompt, answer, is_good):
            return f"{_turns(prompt)} -> {answer} ({'good' if is_good else 'not good'})"
        case formats.Prompt(prompt, answer):
            return _turns(prompt) if answer is None else f"{_turns(prompt)} -> {answer}"
        case _:
            return f"{_turns(record.prompt)} -> {record.answer}"


def _turns(prompt: Sequence[formats.Message]) -> str:
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].content
    return "  ".join(f"{turn.role}: {turn.content}" for turn in prompt)


def _from_where_they_part(one: str, other: str) -> tuple[str, str]:
    """Leave out most of what two texts share in front, so that what differs is in sight."""
    shared = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    start = shared - BEFORE
    if start <= 0:
        return _cut(one), _cut(other)
    return _cut(f"…{one[start:]}"), _cut(f"…{other[start:]}")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
