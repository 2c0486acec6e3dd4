"""What the program prints: the Trainer's dicts, JSON, `loss=1.2` and `step 5 | loss 1.2`, and its progress bar.

The Trainer prints no step with its numbers. Its progress bar has it; where there is none, the epoch and the planned
epochs tell, else each line counts as a step.
"""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import TOTALS, first, flat, metrics_of, number, step_of
from finetop.core.external.sources._tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf)"
# tqdm's ` 50%|█████     | 5/10 [00:01<00:01`; one with a name before it (Map:) is of something else
_BAR = re.compile(r"^\s*\d+%\|[^|]*\|\s*(\d{1,18})/(\d{1,18})\s*\[")
_DICT = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
_PAIR = re.compile(rf"(?<![\w/.])([A-Za-z_][\w/.-]{{0,60}}?)\s*[=:]\s*({_NUMBER})(?![\w.])", re.IGNORECASE)
_SPACED = re.compile(
    rf"(?<![\w/.])(step|iter|iteration|epoch|loss|lr|train_loss|val_loss|grad_norm)\s+({_NUMBER})(?![\w.])",
    re.IGNORECASE,
)
_STEP_OF = re.compile(r"\b(?:step|iter(?:ation)?)s?\W{0,3}(\d{1,18})\s*(?:/|of)\s*(\d{1,18})(?!\d)", re.IGNORECASE)
LONGEST = 20_000  # characters of a line with numbers
LEAST_KEYS = ("loss", "eval_loss", "train_loss", "val_loss", "reward")  # a line of pairs has one of these
SUMMARY = "train_runtime"  # of the Trainer's last line, whose train_loss is the mean over the run


class Printed(Reader):
    """The log of one job."""

    def __init__(self, path: Path, begins: int) -> None:
        super().__init__(path)
        self._tail = Tail(path, begins)
        self._bar = 0  # the step of the progress bar
        self._count = 0  # lines with numbers but no step
        self._step = 0

    def read(self) -> list[Point]:
        points = []
        for line in self._tail.lines():
            if len(line) > LONGEST:
                continue
            if bar := _BAR.match(line):
                self._bar, self.total = int(bar[1]), int(bar[2])
            values = _values(line)
            if not values or SUMMARY in values:
                continue
            self.total = int(first(values, TOTALS) or self.total)
            step = step_of(values)
            if step is None and (whole := _STEP_OF.search(line)):
                step, self.total = int(whole[1]), int(whole[2])
            if step is None:
                step = self._of_bar(values)
            self._step = max(step, self._step) if any(key.startswith("eval") for key in values) else step
            points.append(Point(self._step, metrics_of(values)))
        return points

    def _of_bar(self, values: dict[str, float]) -> int:
        """Return the step of a line that has none."""
        if any(key.startswith("eval_") for key in values):
            return self._step
        self._count += 1
        return max(self._bar, self._step + 1) if self._bar else self._count


def _values(line: str) -> dict[str, float]:
    """Return the numbers that a line logs; none for any other line."""
    if "{" in line:
        for text in _DICT.findall(line):
            values = flat(_mapping(text))
            if any(_counts(key) for key in values):
                return values
        return {}
    pairs: dict[str, float] = {}
    for name, value in (*_PAIR.findall(line), *_SPACED.findall(line)):
        if (read := number(value)) is not None:
            pairs.setdefault(name, read)
    return pairs if any(_counts(key) for key in pairs) else {}


def _counts(key: str) -> bool:
    return key.lower().replace("/", "_").removeprefix("train_") in LEAST_KEYS or key.lower() in LEAST_KEYS


def _mapping(text: str) -> dict[str, Any]:
    """Read a JSON object or a Python dict; empty for anything else."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text if read is json.loads else re.sub(r"\b(nan|inf)\b", r"'\1'", text))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    return {}


class Stdout(Source):
    about = "what it prints: the Trainer's dicts, JSON, key=value, progress bars"
    rank = 1

    def find(self, places: Places) -> Iterator[Path]:
        if places.log is not None and places.log.is_file():
            yield places.log
        for folder in places.folders:
            for file in (*folder.glob("log_*.txt"), *folder.glob("logs/log_*.txt")):  # torchtune's
                if file.stat().st_mtime >= places.since:
                    yield file

    def open(self, path: Path, places: Places) -> Printed:
        return Printed(path, places.log_begins if path == places.log else 0)


PLUGIN = Stdout()
