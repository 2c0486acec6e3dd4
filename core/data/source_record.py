"""What a source held when a job read it: the content of its rows, its file as it lay there, a data set's revision."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.data.versions import manifest
from finetop.core.data.versions.row_hashes import Contents, keep
from finetop.core.protocol.data_diff import named
from finetop.core.protocol.events import SourceRead

if TYPE_CHECKING:
    import os

    from finetop.core.recipe.schema import Source

Use = Literal["train", "replay", "eval", "test"]
_REVISION = re.compile(r"@([0-9a-f]{40})/")


@dataclass
class Seen:
    """What is seen of a source while it is read."""

    file: os.stat_result | None  # before its first row was read
    contents: Contents = field(default_factory=Contents)
    revision: str = ""
    fingerprint: str = ""

    def look_at(self, found: Any) -> None:
        """Note what `datasets` says of a data set: its fingerprint, and the commit that its files came from."""
        self.fingerprint = str(getattr(found, "_fingerprint", ""))
        files = getattr(getattr(found, "info", None), "download_checksums", None) or {}
        commits = {match[1] for file in files if (match := _REVISION.search(str(file)))}
        self.revision = ", ".join(sorted(commits))


def begin(source: Source) -> Seen:
    """Look at a source's file before it is read."""
    try:
        return Seen(Path(source.path).stat() if source.path is not None else None)
    except OSError:
        return Seen(None)  # reading it says what is wrong


def told(source: Source, use: Use, seen: Seen, run_folder: Path | None) -> SourceRead:
    """Keep the hashes of the rows that were read in the run's folder, and say what they are."""
    name, contents, file = name_of(source), seen.contents, seen.file
    if run_folder is not None:
        keep(contents, run_folder)
    print(f"{named(name, contents.content)}: {contents.rows} rows")
    sha256 = "" if source.path is None else manifest.sha256_of(Path(source.path))
    return SourceRead(
        source=name,
        path=source.path or source.id or "",
        part=", ".join(filter(None, (source.subset, source.split))),
        use=use,
        rows=contents.rows,
        content=contents.content,
        limit=source.rows,
        share=source.share,
        size=0 if file is None else file.st_size,
        written=None if file is None else file.st_mtime,
        placed=None if file is None else file.st_ctime,
        revision=seen.revision,
        fingerprint=seen.fingerprint,
        sha256=sha256,
        origin=None if source.path is None else manifest.of_file(Path(source.path), sha256),
    )


def name_of(source: Source) -> str:
    """Name a source as people know it: the file's name, or the data set's id."""
    if source.path is not None:
        return Path(source.path).name
    return (source.id or "") + (f":{source.split}" if source.split else "")
