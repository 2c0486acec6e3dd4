"""The present state of a file from which a run read its rows, and the rows that differ, as text."""

from __future__ import annotations

import json
import time
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data import files as row_files, formats
from finetop.core.data.row_hashes import ROW_BYTES, Contents
from finetop.core.errors import FinetopError
from finetop.core.protocol.data_diff import Example, Now, SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from finetop.core.features.data_versions.diff import Compared, Hashes

READ_BYTES = 256 << 20  # files up to this size are read again: 3 s
LOOK_S = 10.0  # for finding the rows of all examples
SHOWN = 300  # characters of one row
BEFORE = 60  # characters shown of what two rows share before they differ
_KINDS: tuple[formats.Kind, ...] = ("conversation", "preference", "labelled", "prompt", "text")


def state_of(then: SourceRow) -> Now:
    """Return whether a file still has the rows that a run read. A file not written to since is not read again."""
    path = Path(then.path)
    try:
        facts = row_files.facts_of(path)
    except (OSError, FinetopError):
        return Now("gone")
    if facts.size == then.size and facts.written == then.written:
        return Now("same", then.rows)
    if facts.size > READ_BYTES:
        return Now("unread")
    contents = Contents()
    try:
        for row in _rows(path, then.limit):
            contents.add(row)
    except FinetopError:
        return Now("changed")  # it can no longer be read as rows
    is_same = contents.content == then.content
    return Now("same" if is_same else "changed", contents.rows, contents.content)


def _rows(path: Path, limit: int | None = None) -> Iterator[dict[str, Any]]:
    for number, (_, row) in enumerate(row_files.stream_rows(path), 1):
        yield row
        if number == limit:
            return


def examples(
    compared: Compared, before: Hashes, after: Hashes, files: Sequence[str]
) -> tuple[list[Example], int]:
    """Find the rows that differ in the present files. Return them, and how many are no longer in any file."""
    wanted = [
        *((int(before[one]), int(after[other])) for one, other in compared.changed),
        *((int(before[one]), None) for one in compared.gone),
        *((None, int(after[one])) for one in compared.new),
    ]
    rows_by_hash = find({one for pair in wanted for one in pair if one is not None}, files)
    shown_examples: list[Example] = []
    not_found = 0
    for keys in wanted:
        rows = [rows_by_hash.get(key) if key is not None else None for key in keys]
        not_found += sum(row is None for key, row in zip(keys, rows, strict=True) if key is not None)
        one, other = rows
        if one is not None and other is not None:
            shown_examples.append(Example(*_from_difference(row_text(one), row_text(other))))
        elif one is not None or other is not None:
            texts = ["" if row is None else _cut(row_text(row, with_system=False)) for row in rows]
            shown_examples.append(Example(*texts))
    return shown_examples, not_found


def find(hashes: set[int], files: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Return rows by their hashes, from wherever they are now in these files."""
    rows_by_hash: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + LOOK_S
    for file in files:
        try:
            if len(rows_by_hash) == len(hashes) or row_files.facts_of(Path(file)).size > READ_BYTES:
                continue
            for row in _rows(Path(file)):
                contents = Contents()
                contents.add(row)
                key = int.from_bytes(contents.hashes[:ROW_BYTES], "little")
                if key in hashes:
                    rows_by_hash[key] = row
                if len(rows_by_hash) == len(hashes) or time.monotonic() > deadline:
                    break
        except (OSError, FinetopError):
            continue  # it is gone, or no longer has rows
    return rows_by_hash


def row_text(row: Mapping[str, Any], *, with_system: bool = True) -> str:
    """Return a row as text: prompt -> answer, or else its JSON. System turns are the same in most rows."""
    try:
        record = formats.read(row, "row", "auto", _KINDS)
    except FinetopError:
        return json.dumps(row, ensure_ascii=False)
    if isinstance(record, formats.Text):
        return record.text
    prompt = _turns([turn for turn in record.prompt if with_system or turn.role != "system"])
    match record:
        case formats.Preference(_, chosen, rejected):
            return f"{prompt} -> {chosen} (not: {rejected})"
        case formats.Labelled(_, answer, is_good):
            return f"{prompt} -> {answer} ({'good' if is_good else 'not good'})"
        case _:
            return prompt if record.answer is None else f"{prompt} -> {record.answer}"


def _turns(prompt: Sequence[formats.Message]) -> str:
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].content
    return "  ".join(f"{turn.role}: {turn.content}" for turn in prompt)


def _from_difference(first: str, second: str) -> tuple[str, str]:
    """Cut most of the shared beginning of two texts, so that the difference is visible."""
    start = len(commonprefix((first, second))) - BEFORE  # noqa: RUF071  # of letters, not of folders
    if start <= 0:
        return _cut(first), _cut(second)
    return _cut(f"…{first[start:]}"), _cut(f"…{second[start:]}")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
