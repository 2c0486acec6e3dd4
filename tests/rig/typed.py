"""Commands of finetop, each in a process of its own, and rows that they train on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LAMPS = [
    {"messages": [{"role": "user", "content": f"Can you mend lamp {n}?"}, {"role": "assistant", "content": "Yes."}]}
    for n in range(24)
]  # fmt: skip


def finetop_in(folder: Path, **variables: str) -> Callable[..., tuple[int, str, str]]:
    """Return what runs one command in a folder, on the home in it: its exit code, stdout and stderr."""
    own = {**os.environ, "FINETOP_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", **variables}

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "finetop.tui.main", *words]
        made = subprocess.run(command, capture_output=True, text=True, check=False, env=own, cwd=folder)
        return made.returncode, made.stdout, made.stderr

    return run
