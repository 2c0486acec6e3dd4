"""Lint's findings for a file, kept in the home by the file's content, for the reports of runs."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from finetop.core.protocol.data_diff import Kept
from finetop.core.runtime.files import open_regular

FOLDER = "lint"  # in the home
BYTES = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")


def of_content(root: Path, sha256: str) -> Kept | None:
    """Return the findings for a file with this content. None if it was never linted completely."""
    if not SHA256.fullmatch(sha256):
        return None
    try:
        with open_regular(root / FOLDER / f"{sha256}.json") as opened:
            return msgspec.json.decode(opened.read(BYTES), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
