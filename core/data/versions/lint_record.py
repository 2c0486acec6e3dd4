"""What lint found of a file, kept in the home by the file's content: a report about a run has it in short."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from finetop.core.runtime.files import open_regular, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.preflight.lint.report import Report

FOLDER = "lint"  # below the home
BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Brief(msgspec.Struct, frozen=True):
    """One finding, as a number."""

    name: str
    about: str
    severity: str
    count: int  # rows
    of: int


class Kept(msgspec.Struct, frozen=True):
    """What was found, in which sources together, and when."""

    at: float
    sources: list[str]
    findings: list[Brief]  # worst first


def keep(report: Report, root: Path) -> None:
    """Keep what was found of the files that are trained on; what was kept of them before goes."""
    found = [Brief(one.name, one.about, one.severity, one.count, one.of) for one in report.findings]
    content = msgspec.json.encode(Kept(time.time(), [one.name for one in report.sources], found))
    for source in report.sources:
        if source.role in ("train", "replay") and _SHA256.fullmatch(source.sha256) and root.is_dir():
            with suppress(OSError):  # a full disk, a home that is not ours: the report itself was told
                (root / FOLDER).mkdir(mode=0o700, exist_ok=True)
                write_whole(root / FOLDER / f"{source.sha256}.json", content)


def of_content(root: Path, sha256: str) -> Kept | None:
    """Read what was found of a file with this content. None where it was never linted whole."""
    if not _SHA256.fullmatch(sha256):
        return None
    try:
        with open_regular(root / FOLDER / f"{sha256}.json") as opened:
            return msgspec.json.decode(opened.read(BYTES), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
