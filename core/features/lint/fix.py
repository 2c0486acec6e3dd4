"""Writes what `--fix` changes: a new file, and a manifest with each change and its reason.

The manifest, OUT.manifest.jsonl, begins with a line about both files, then has one line per change, in order:
    {"line": 17, "finding": "empty", "action": "remove", "why": "empty", "before": …, "after": null, "new_line": null}
`before` and `after` are the sha256 of the old and new line, without line end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.lint import findings, lines
from finetop.core.features.lint.lines import Unread
from finetop.core.features.lint.report import LEARNED, Fixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from finetop.core.features.lint.findings import Fix
    from finetop.core.features.lint.lines import Read
    from finetop.core.features.lint.second_pass import Whole

    RowFixes = list[tuple[str, Fix]]  # each with the finding that wants it

VERSION = 1


class Change(msgspec.Struct, frozen=True):
    """One change of the manifest; `new_line` is the line in the new file."""

    line: int
    finding: str
    action: str
    why: str
    before: str
    after: str | None
    new_line: int | None


def manifest_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.manifest.jsonl")


def require_place(out: Path, reads: list[Read]) -> None:
    """Check that there is one file to fix and that the new file's path is free. Raises BadInput."""
    trained = [read for read in reads if read.role in LEARNED]
    if len(trained) != 1 or trained[0].source.path is None:
        number = "several sources" if len(trained) > 1 else "no file"
        hint = "Name one file."
        raise BadInput(f"--fix writes one new file, but the recipe trains on {number}.", hint=hint)
    if trained[0].source.rows is not None:
        raise BadInput("--fix would leave out rows beyond the recipe's `rows`.", hint="Name the file itself.")
    for path in (out, manifest_of(out)):
        if path.exists() or path.is_symlink():
            hint = "Give another name."
            raise BadInput(f"{path} already exists; --fix does not overwrite files.", hint=hint)
    if not out.parent.is_dir():
        raise BadInput(f"{out}: no folder {out.parent}.", hint="Create it, or give another path.")


def write(out: Path, whole: Whole, fixes: Mapping[int, RowFixes]) -> Fixed:
    """Write the new file and its manifest: both whole, or neither. Raises BadInput, EnvironmentTrouble."""
    number = next(n for n, read in enumerate(whole.reads) if read.role in LEARNED)
    read = whole.reads[number]
    manifest = manifest_of(out)
    temporary, manifest_aside = (path.with_name(f".{path.name}.{os.getpid()}") for path in (out, manifest))
    if read.is_plain and lines.size_of(read) != read.bytes:
        raise BadInput(f"{read.name}: changed while being read.", hint="Lint it again.")
    rows = removed = fixed = 0
    after = hashlib.sha256()
    try:
        with temporary.open("xb") as file, tempfile.TemporaryFile(dir=out.parent) as changes_file:
            for line_number, line, row_fixes in _lines(whole, number, fixes):
                kept, changes = _changed(line, row_fixes)
                if kept is not None:
                    rows += 1
                    file.write(kept + b"\n")
                    after.update(kept + b"\n")
                removed += kept is None
                fixed += kept is not None and bool(changes)
                for name, fix in changes:
                    new = (None, None) if kept is None else (_hash(kept), rows)
                    change = Change(line_number, name, fix.action, fix.why, _hash(line), *new)
                    changes_file.write(msgspec.json.encode(change) + b"\n")
                if line_number % 10_000 == 0:
                    whole.say("writing the new file", line_number, read.rows)
            head = {
                "manifest": VERSION, "from": read.source.path, "from_sha256": read.sha256, "from_rows": read.rows,
                "to": str(out), "to_sha256": after.hexdigest(), "rows": rows, "removed": removed, "fixed": fixed,
            }  # fmt: skip
            changes_file.seek(0)
            with manifest_aside.open("xb") as manifest_file:
                manifest_file.write(msgspec.json.encode(head) + b"\n")
                shutil.copyfileobj(changes_file, manifest_file, 1 << 20)
        put(manifest_aside, manifest)
        try:
            put(temporary, out)
        except OSError:
            manifest.unlink()
            raise
    except FileExistsError as error:
        hint = "Give another name."
        raise BadInput(f"{out} already exists; --fix does not overwrite files.", hint=hint) from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EnvironmentTrouble(f"{out}: can't be written: {why}.") from error
    finally:
        for path in (temporary, manifest_aside):
            with suppress(OSError):
                path.unlink()
    return Fixed(str(out), str(manifest), rows, removed, fixed)


def put(file: Path, place: Path) -> None:
    """Rename a file to its final name. Unlike os.rename, raises FileExistsError if the name is taken by now."""
    try:
        os.link(file, place)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if place.exists():
            raise FileExistsError(place) from None
        file.rename(place)


def _lines(
    whole: Whole, number: int, fixes: Mapping[int, RowFixes]
) -> Iterator[tuple[int, bytes | Unread, RowFixes]]:
    """Yield each line of the file with its fixes."""
    read = whole.reads[number]
    for index in range(len(read.starts)):
        block = lines.block_again(read, number, index)
        for offset, (line_number, line) in enumerate(zip(block.numbers, block.lines, strict=True)):
            yield line_number, line, fixes.get(block.at + offset, [])


def _changed(line: bytes | Unread, row_fixes: RowFixes) -> tuple[bytes | None, RowFixes]:
    """Return the new line (None if it is removed) and the changes made."""
    removals = [entry for entry in row_fixes if entry[1].action == "remove"]
    if removals:
        return None, removals[:1]
    if isinstance(line, Unread):  # there is nothing to copy
        hint = "Let --fix remove it: don't skip unreadable."
        raise BadInput(f"--fix can't keep a row: {line.why}.", hint=hint)
    kept = line.rstrip(b"\r\n")
    raw = lines.decoded(kept) if row_fixes else None
    if not isinstance(raw, dict):
        return kept, []
    changes = []
    for name, fix in row_fixes:
        fixed = findings.load(name).fixed(raw)
        if fixed is not None and fixed != raw:
            raw = fixed
            changes.append((name, fix))
    return (msgspec.json.encode(raw) if changes else kept), changes


def _hash(line: bytes | Unread) -> str:
    content = line.rstrip(b"\r\n") if isinstance(line, bytes) else b""
    return hashlib.sha256(content).hexdigest()
