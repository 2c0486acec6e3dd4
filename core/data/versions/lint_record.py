"""What lint found of a file, kept in the home by the file's content: a report about a run has it in short."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from finetop.core.protocol.data_diff import Kept
from finetop.core.runtime.files import open_regular

FOLDER = "lint"  # below the home
BYTES = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")


def of_content(root: Path, sha256: str) -> Kept | None:
    """Read what was found of a file with this content. None where it was never linted whole."""
    if not SHA256.fullmatch(sha256):
        return None
    try:
        with open_regular(root / FOLDER / f"{sha256}.json") as opened:
            return msgspec.json.decode(opened.read(BYTES), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
