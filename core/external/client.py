"""What a training script may call: numbers by hand, and a callback for a Hugging Face Trainer.

They append a line to a file, which the run's job reads; neither a supervisor nor torch is needed here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = "FINETOP_METRICS"  # the file of the command that this script is
HOME = "FINETOP_HOME"
RANK = "RANK"  # of a process of a distributed run, as torchrun and accelerate set it
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


@dataclass
class _File:
    descriptor: int | None  # None: nothing is written
    is_torn: bool = False  # a full disk cut the last line


_files: dict[str, _File] = {}
_keys: dict[str, str] = {}  # as they stand in a line


def log(run: str, step: int, **values: float) -> None:
    """Report values at a step, as `finetop.log("my-run", step, loss=0.7)`.

    In a command of `finetop run` they belong to its run, whatever the name. Elsewhere they go to a file in the home
    folder, logged/RUN/metrics.jsonl: `finetop watch` that folder. Of a distributed run only rank 0 writes. Values that
    are no numbers are left out, and a full disk is no error: training goes on.
    """
    file = _files.get(run) or _open(run)
    if file.descriptor is None:
        return
    parts = [f'{{"step":{int(step)},"time":{time.time():.3f}']  # by hand: json takes twice as long
    for key, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        text = repr(number)
        parts.append(_keys.get(key) or _keys.setdefault(key, f",{json.dumps(key)}:"))
        parts.append(text if number - number == 0 else NOT_FINITE[text])
    line = ("\n" * file.is_torn + "".join(parts) + "}\n").encode()
    try:
        file.is_torn = 0 < os.write(file.descriptor, line) < len(line)
    except OSError:
        return  # a full disk


def _open(run: str) -> _File:
    _files[run] = file = _File(None)
    if os.environ.get(RANK, "0") != "0":
        return file
    named = os.environ.get(METRICS)
    home = Path(os.environ.get(HOME) or Path.home() / ".finetop")
    safe = "".join(char if char.isalnum() or char in "._-" else "-" for char in run).strip(".") or "run"
    path = Path(named) if named else home / "logged" / safe / "metrics.jsonl"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        print(f"finetop.log: can't write to {path}: {error.strerror}; nothing is logged", file=sys.stderr)
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
