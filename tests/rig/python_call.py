"""A program in a Python of its own, whose output is returned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from waiting import TORCH_LIMIT_S


def call(
    *words: object,
    cwd: Path | None = None,
    told: str | None = None,
    limit_s: float = TORCH_LIMIT_S,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` to its end, with `told` as its standard input and these variables beside the test's own."""
    return subprocess.run(
        [sys.executable, *map(str, words)], env={**os.environ, **variables}, cwd=cwd, input=told,
        capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
