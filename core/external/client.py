"""What a training script may call: numbers by hand, and a callback for a Hugging Face Trainer.

They append a line to a file, which the run's job reads; neither a supervisor nor torch is needed here.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METRICS = "FINETOP_METRICS"  # the file of the command that this script is
HOME = "FINETOP_HOME"
RANK = "RANK"  # of a process of a distributed run, as torchrun and accelerate set it
PLAIN = {float, int}  # types that are encoded as they are; a bool would become `true`
LARGEST_STEP = 2**63 - 1
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


@dataclass
class _File:
    descriptor: int | None  # None: nothing is written
    is_torn: bool = False  # a full disk cut the last line


_files: dict[str, _File] = {}
_opening = threading.Lock()
_encode = msgspec.json.Encoder().encode  # 5 values: 1.3 us, json 5.6


def log(run: str, step: int, **values: float) -> None:
    """Report values at a step, as `finetop.log("my-run", step, loss=0.7)`.

    In a command of `finetop run` they belong to its run, whatever the name. Elsewhere they go to a file in the home
    folder, logged/RUN/metrics.jsonl: `finetop watch` that folder. Each call is one write of one line, so a script that
    is killed loses none. Of a distributed run only rank 0 writes. Values that are no numbers are left out, and a full
    disk is no error: training goes on.
    """
    file = _files.get(run) or _open(run)
    if file.descriptor is None:
        return
    try:
        if not {*map(type, values.values())} <= PLAIN or not isfinite(sum(values.values())):
            values = dict(_numbers(values))
        line = _encode({"step": int(step), "time": time(), **values}) + b"\n"
    except (
        UnicodeEncodeError,
        OverflowError,
    ):  # half of a surrogate pair, a whole number of more than 64 bits
        values = {key.encode("utf-8", "replace").decode(): value for key, value in _numbers(values)}
        line = _encode({"step": min(int(step), LARGEST_STEP), "time": time(), **values}) + b"\n"
    if file.is_torn:
        line = b"\n" + line
    try:
        file.is_torn = 0 < os.write(file.descriptor, line) < len(line)
    except OSError:
        return  # a full disk


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what is a number, as one; what is not finite by its name, which JSON has no number for."""
    for key, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        yield key, number if isfinite(number) else NOT_FINITE[repr(number)]


def _open(run: str) -> _File:
    with _opening:
        if run not in _files:
            _files[run] = _File(_descriptor(run))
        return _files[run]


def _descriptor(run: str) -> int | None:
    if os.environ.get(RANK, "0") != "0":
        return None
    named = os.environ.get(METRICS)
    home = Path(os.environ.get(HOME) or Path.home() / ".finetop")
    safe = "".join(char if char.isalnum() or char in "._-" else "-" for char in run).strip(".") or "run"
    path = Path(named) if named else home / "logged" / safe / "metrics.jsonl"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        print(f"finetop.log: can't write to {path}: {error.strerror}; nothing is logged", file=sys.stderr)
        return None


def _begin_anew() -> None:
    """Forget the open files: a forked process may have another rank."""
    global _opening
    _opening = threading.Lock()
    for file in _files.values():
        if file.descriptor is not None:
            os.close(file.descriptor)
    _files.clear()


os.register_at_fork(after_in_child=_begin_anew)


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
