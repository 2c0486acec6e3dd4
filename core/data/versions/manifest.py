"""Where the rows of a file were taken from, as the manifest beside it says: by `finetop select`, or `lint --fix`.

A manifest holds for the file that it was written with: one whose bytes are others by now has no origin.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.protocol.data_diff import Origin
from finetop.core.runtime.files import open_regular

DEEPEST = 5  # manifests of manifests
HEAD_BYTES = 1 << 20  # of a manifest of lines, whose first is what is read
WHOLE_BYTES = 64 << 20


def sha256_of(file: Path) -> str:
    """Hash the bytes of a file that was read; '' where it can't be read again. 0.1 s for 100 MB."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def of_file(file: Path, sha256: str, depth: int = 0) -> Origin | None:
    """Read what a file with these bytes was made of. None where no manifest beside it is of them."""
    if not sha256 or depth == DEEPEST:
        return None
    for read in (_selected, _mended):
        try:
            found = read(file, sha256)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # there is none, or it is another's
        if found is not None:
            before = of_file(Path(found.path), found.sha256, depth + 1)
            return msgspec.structs.replace(found, before=before)
    return None


class _Source(msgspec.Struct):
    path: str
    sha256: str
    rows: int


class _Selected(msgspec.Struct):
    """FILE.manifest.json, of `finetop select` (core/select)."""

    source: _Source
    by: str
    rows: int
    sha256: str


def _selected(file: Path, sha256: str) -> Origin | None:
    manifest = file.with_name(f"{file.name.removesuffix('.jsonl')}.manifest.json")
    told = msgspec.json.decode(_content(manifest, WHOLE_BYTES), type=_Selected)
    if told.sha256 != sha256:
        return None
    source = told.source
    return _origin(
        how="selected",
        path=source.path,
        sha256=source.sha256,
        of_rows=source.rows,
        rows=told.rows,
        by=told.by,
    )


class _Mended(msgspec.Struct):
    """The first line of FILE.jsonl.manifest.jsonl, of `finetop lint --fix` (core/preflight/lint)."""

    source: str = msgspec.field(name="from")
    from_sha256: str
    from_rows: int
    to_sha256: str
    rows: int
    removed: int
    mended: int


def _mended(file: Path, sha256: str) -> Origin | None:
    first = _content(file.with_name(f"{file.name}.manifest.jsonl"), HEAD_BYTES).partition(b"\n")[0]
    told = msgspec.json.decode(first, type=_Mended)
    if told.to_sha256 != sha256:
        return None
    return _origin(
        how="mended",
        path=told.source,
        sha256=told.from_sha256,
        of_rows=told.from_rows,
        rows=told.rows,
        removed=told.removed,
        mended=told.mended,
    )


def _origin(**facts: Any) -> Origin:
    """Make an origin, in which nothing is too long or too large. Raises msgspec.ValidationError."""
    return msgspec.convert(facts, Origin)


def _content(manifest: Path, limit: int) -> bytes:
    with open_regular(manifest) as opened:
        return opened.read(limit)
