"""What a job read from a source: the content of its rows, its file's facts, a data set's revision."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.data import files
from finetop.core.data.files import Facts
from finetop.core.data.row_hashes import Contents, keep
from finetop.core.errors import BadInput
from finetop.core.protocol.data_diff import Origin, named
from finetop.core.protocol.events import SourceRead
from finetop.core.runtime.files import is_pattern, open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.formats import Record
    from finetop.core.recipe.schema import Source

Use = Literal["train", "replay", "eval", "test"]
_REVISION = re.compile(r"@([0-9a-f]{40})/")
LONGEST_SYSTEM = 20_000  # characters of a system prompt that is recorded, as of a recipe's
DEEPEST = 5  # manifests of manifests
HEAD_BYTES = 1 << 20  # of a JSON-lines manifest, of which only the first line is read
WHOLE_BYTES = 64 << 20


@dataclass
class Seen:
    """What is recorded of a source while it is read."""

    file: Facts | None  # of all its files, before the first row was read
    contents: Contents = field(default_factory=Contents)
    revision: str = ""
    fingerprint: str = ""
    system: str = ""

    def look_at(self, dataset: Any) -> None:
        """Record a `datasets` data set's fingerprint, and the commit that its files came from."""
        self.fingerprint = str(getattr(dataset, "_fingerprint", ""))
        files = getattr(getattr(dataset, "info", None), "download_checksums", None) or {}
        commits = {match[1] for file in files if (match := _REVISION.search(str(file)))}
        self.revision = ", ".join(sorted(commits))


def begin(source: Source) -> Seen:
    """Record the facts of a source's file before it is read."""
    try:
        return Seen(files.facts_of(Path(source.path)) if source.path is not None else None)
    except (OSError, BadInput):
        return Seen(None)  # reading it will report what is wrong


def record(source: Source, use: Use, seen: Seen, run_folder: Path | None) -> SourceRead:
    """Save the hashes of the rows read in the run's folder, and return the source's record."""
    name, contents, file = name_of(source), seen.contents, seen.file
    if run_folder is not None:
        keep(contents, run_folder)
    print(f"{named(name, contents.content)}: {contents.rows} rows")
    sha256 = "" if source.path is None else sha256_of(Path(source.path))
    return SourceRead(
        source=name,
        path=source.path or source.id or "",
        part=", ".join(filter(None, (source.subset, source.split))),
        use=use,
        rows=contents.rows,
        content=contents.content,
        limit=source.rows,
        share=source.share,
        size=0 if file is None else file.size,
        written=None if file is None else file.written,
        placed=None if file is None else file.placed,
        revision=seen.revision,
        fingerprint=seen.fingerprint,
        sha256=sha256,
        origin=None if source.path is None else of_file(Path(source.path), sha256),
        system=seen.system,
    )


def common_system(records: Sequence[Record]) -> str:
    """Return the system prompt that more than half of some rows have; empty if there is none."""
    counted = Counter(map(_system_of, records))
    text, count = counted.most_common(1)[0] if counted else ("", 0)
    return text if 2 * count > len(records) and len(text) <= LONGEST_SYSTEM else ""


def _system_of(record: Record) -> str:
    prompt = getattr(record, "prompt", ())  # a plain text has none
    return prompt[0].content if prompt and prompt[0].role == "system" else ""


def name_of(source: Source) -> str:
    """Return a source's displayed name: the file's name, or the data set's id."""
    if source.path is not None:
        path = Path(source.path)
        return f"{path.parent.name}/{path.name}" if is_pattern(path) else path.name
    return (source.id or "") + (f":{source.split}" if source.split else "")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file that was read, or of a folder's names and hashes; '' if it can't be read again."""
    try:
        listed = files.listed(path)
        if listed == [path]:
            return _sha256(path)
        names = [f"{file.name} {_sha256(file)}\n" for file in listed]
    except (OSError, BadInput):
        return ""
    return hashlib.sha256("".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def of_file(file: Path, sha256: str, depth: int = 0) -> Origin | None:
    """Return what a file with these bytes was made from. None without a manifest beside it that matches them."""
    if not sha256 or depth == DEEPEST:
        return None
    for read in (_selected, _fixed):
        try:
            origin = read(file, sha256)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # there is none, or it belongs to another program
        if origin is not None:
            before = of_file(Path(origin.path), origin.sha256, depth + 1)
            return msgspec.structs.replace(origin, before=before)
    return None


class _Source(msgspec.Struct):
    path: str
    sha256: str
    rows: int


class _Selected(msgspec.Struct):
    """FILE.manifest.json, written by `finetop select` (core/features/select)."""

    source: _Source
    by: str
    rows: int
    sha256: str


def _selected(file: Path, sha256: str) -> Origin | None:
    manifest = file.with_name(f"{file.name.removesuffix('.jsonl')}.manifest.json")
    facts = msgspec.json.decode(_content(manifest, WHOLE_BYTES), type=_Selected)
    if facts.sha256 != sha256:
        return None
    source, made = facts.source, {"how": "selected", "rows": facts.rows, "by": facts.by}
    return _origin(path=source.path, sha256=source.sha256, of_rows=source.rows, **made)


class _Fixed(msgspec.Struct):
    """The first line of FILE.jsonl.manifest.jsonl, of `finetop lint --fix` (core/features/lint)."""

    source: str = msgspec.field(name="from")
    from_sha256: str
    from_rows: int
    to_sha256: str
    rows: int
    removed: int
    fixed: int


def _fixed(file: Path, sha256: str) -> Origin | None:
    first = _content(file.with_name(f"{file.name}.manifest.jsonl"), HEAD_BYTES).partition(b"\n")[0]
    facts = msgspec.json.decode(first, type=_Fixed)
    if facts.to_sha256 != sha256:
        return None
    made = {"how": "mended", "rows": facts.rows, "removed": facts.removed, "mended": facts.fixed}
    return _origin(path=facts.source, sha256=facts.from_sha256, of_rows=facts.from_rows, **made)


def _origin(**facts: Any) -> Origin:
    """Build an origin, with its limits on length and size. Raises msgspec.ValidationError."""
    return msgspec.convert(facts, Origin)


def _content(manifest: Path, limit: int) -> bytes:
    with open_regular(manifest) as opened:
        return opened.read(limit)
