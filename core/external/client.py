"""What a training script may call: numbers by hand, and a callback for a Hugging Face Trainer.

They append a line to a file, which the run's job reads; neither a supervisor nor torch is needed here.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from io import FileIO

METRICS = "FINETOP_METRICS"  # the file of the command that this script is
HOME = "FINETOP_HOME"
_files: dict[str, FileIO] = {}


def log(run: str, step: int, **values: float) -> None:
    """Report values at a step, as `finetop.log("my-run", step, loss=0.7)`.

    In a command of `finetop run` they belong to its run, whatever the name. Elsewhere they go to a file in the home
    folder, logged/RUN/metrics.jsonl: `finetop watch` that folder. A full disk is no error: training goes on.
    """
    file = _files.get(run) or _open(run)
    line = json.dumps(
        {"step": step, "time": time.time(), **{key: float(value) for key, value in values.items()}}
    )
    try:
        file.write(line.encode() + b"\n")
    except OSError:
        return  # a full disk


def _open(run: str) -> FileIO:
    named = os.environ.get(METRICS)
    if named:
        path = Path(named)
    else:
        home = Path(os.environ.get(HOME) or Path.home() / ".finetop")
        safe = "".join(char if char.isalnum() or char in "._-" else "-" for char in run).strip(".") or "run"
        path = home / "logged" / safe / "metrics.jsonl"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _files[run] = file = path.open("ab", buffering=0)
    return file


def callback() -> Any:
    """Return the class of a callback for a Hugging Face Trainer: `callbacks=[FinetopCallback()]`."""
    from transformers import TrainerCallback

    class FinetopCallback(TrainerCallback):  # type: ignore[misc]  # the library is untyped
        """Reports what a Trainer logs, with its step and the planned steps."""

        def __init__(self, run: str = "") -> None:
            self.run = run

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if not state.is_world_process_zero:
                return
            name = self.run or Path(args.output_dir).name
            values = {key: value for key, value in (logs or {}).items() if isinstance(value, int | float)}
            log(name, state.global_step, max_steps=state.max_steps, **values)

    return FinetopCallback
