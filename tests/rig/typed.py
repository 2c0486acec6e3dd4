"""Commands of finetop, each in a process of its own, and rows that they train on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

Finetop = Callable[..., tuple[int, str, str]]  # runs one command: its exit code, stdout and stderr
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "lm_eval",
    "duckdb",
    "textual",
    "pyarrow",
    "pandas",
}

LAMPS = [
    {"messages": [{"role": "user", "content": f"Can you mend lamp {n}?"}, {"role": "assistant", "content": "Yes."}]}
    for n in range(24)
]  # fmt: skip


def refuses(finetop: Finetop, cases: Mapping[str, str], *before: str, code: int = 2) -> None:
    """Require that each command, `before` and its own words, ends with this code and one clean line that says why."""
    for command_line, says in cases.items():
        got, out, err = finetop(*before, *shlex.split(command_line))
        is_clean = not {"\x1b", "\u202e"} & set(err) and "Traceback" not in err
        assert (got, out, says in err, err.count("\n"), is_clean) == (code, "", True, 1, True), (
            command_line,
            err,
        )


def loaded_by(*arguments: str, first: str = "") -> tuple[int, list[str]]:
    """Run one command in a process of its own, after some code; return its exit code and what it loads of HEAVY."""
    code = f"import sys\n{first}\nfrom finetop.core.commands.main import main\ncode = main(sys.argv[1:])\n"
    code += f"print(code, *sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    exit_code, *loaded = ended.stderr.splitlines()[-1].split()
    return int(exit_code), loaded


def finetop_in(folder: Path, **variables: str) -> Finetop:
    """Return what runs one command in a folder, on the home in it."""
    own = {**os.environ, "FINETOP_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", **variables}

    def run(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "finetop.tui.main", *arguments]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=own, cwd=folder, input=stdin
        )
        return ended.returncode, ended.stdout, ended.stderr

    return run
