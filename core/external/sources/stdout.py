"""What the program prints: the Trainer's dicts, JSON, `step 5/100 | loss 1.2`, `loss=1.2`, and progress bars.

Strict: a line counts if it has a loss and a step, or is nothing but such values. The Trainer prints no step with its
dict, but redraws its progress bar right after it, which has the step. Without either, each line counts as a step.
"""

from __future__ import annotations

import ast
import json
import math
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import (
    NOT_METRICS,
    SUMMARIES,
    first,
    flat,
    has_loss,
    metrics_of,
    number,
    step_of,
    total_of,
)
from finetop.core.external.sources._tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?)"
_END = r"(?![\w.]|,\d{3}\b|:\d)"  # not the beginning of a version, of 1,234 or of a time of day
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|\x08")
# tqdm's ` 50%|█████     | 5/10 [00:01<00:01`, with what stands before it
_BAR = re.compile(r"^(.*?)\b\d+%\|[^|]*\|\s*(\d{1,18})/(\d{1,18})\s*\[")
_TORCHTUNE = re.compile(r"^\d+\|(\d{1,18})\|$")  # before its bar: epoch, step, then `Loss: 1.2:`
_OTHER_BAR = re.compile(r"val|eval|test|predict|sanity", re.IGNORECASE)
# before a dict
_OF_THE_RUN = re.compile(r"\b(?:best|final|average|mean|config|arg(?:ument)?s)\b", re.IGNORECASE)
_DICT = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
_WRAPPED = re.compile(r"(?:np\.float\d+|tensor|array)\(([^(),]*)(?:,[^()]*)?\)")  # np.float64(0.5) -> 0.5
_BARE = re.compile(r"(?<![\w'\"])-?(?:nan|inf)(?![\w'\"])")
_PAIR = re.compile(
    r"(?:(?<![A-Za-z])(?P<before>[A-Za-z]+) )?(?<![\w/.@?&'\"-])(?P<key>[A-Za-z_][\w/.@-]{0,60}?)"
    rf"(?P<sign>\s*[=:]\s*|\s+)(?:tensor\()?(?P<value>{_NUMBER}){_END}",
    re.IGNORECASE,
)
_PART = re.compile(
    r"\b(epoch|step|iter|iteration|batch)s?\W{0,3}(\d{1,18})\s*(?:/|\bof\b)\s*(\d{1,18})(?!\d)", re.IGNORECASE
)
# the table of a Trainer's log_metrics, of the run as a whole
_TABLE, _ROW = re.compile(r"\*{5} \w+ metrics \*{5}\s*"), re.compile(r" +\w+ += ")
_LEVEL = re.compile(r"[\W\d]*(?:(?:INFO|DEBUG)[\W\d]*)?", re.IGNORECASE)
STEPS = ("step", "global_step", "steps", "iter", "iteration", "batch")
EPOCH = "epoch"
# `loss 1.2`
NAMED = ("step", "iter", "iteration", "epoch", "loss", "lr", "train_loss", "val_loss", "grad_norm")
TRAIN, EVAL = ("train", "training"), ("val", "valid", "validation", "eval", "evaluation", "test")
LEVELS = ("info", "debug")
OWN = ("finetop: ", "alarm: ", "over: ")  # lines of the job itself
NOT_VALUES = {*NOT_METRICS, *STEPS, "eta", "rank", "pid", "gpu", "seed", "v_num", "line", "version"}
LONGEST = 20_000  # characters of a line with numbers
MOST_BEHIND = 16 << 20  # bytes: a program may print 1 GB/s
# A read takes so much CPU time, and the rest of one part: 4 MB of plain text take 0.05 s, of lines with numbers 3 s.
PART_BYTES, MOST_CPU_S = 64 << 10, 0.05
RECENT = 16  # steps: the processes of a distributed run print the same ones, some a little late


class Printed(Reader):
    """The log of one job."""

    def __init__(self, path: Path, begins: int) -> None:
        super().__init__(path)
        self._tail = Tail(path, begins, MOST_BEHIND, PART_BYTES)
        self._waiting: dict[str, float] = {}  # values without a step, until the next bar
        # the newest bar of the training, and its length, 0 if none is known
        self._bar, self._bar_total = 0, 0
        self._step = 0
        self._laps = _Laps()
        self._in_table = False

    def read(self) -> list[Point]:
        points: list[Point] = []
        waited = dict(self._waiting)
        until = time.process_time() + MOST_CPU_S
        while True:
            for line in self._tail.lines():
                if len(line) <= LONGEST:
                    self._line(_ESCAPES.sub("", line) if "\x1b" in line or "\x08" in line else line, points)
            if not self._tail.behind or time.process_time() >= until:
                break
        if self._waiting and (bar := _BAR.match(self._tail.unfinished)) is not None:
            self._on_bar(bar, "", points, has_values=False)  # it was redrawn, and stands until the next step
        if waited and waited == self._waiting:
            self._place(None, points)  # no bar came
        self.behind = self._tail.behind or bool(self._waiting)
        return points

    def _line(self, line: str, points: list[Point]) -> None:
        bar = _BAR.match(line) if "%|" in line else None
        if bar is not None and (dict_at := line.find("{", bar.end())) > 0:  # printed beside a bar
            self._on_bar(bar, line[:dict_at], points, has_values=False)
            bar, line = None, line[dict_at:]
        self._in_table = _TABLE.match(line) is not None or (self._in_table and _ROW.match(line) is not None)
        if self._in_table or line.startswith(OWN):
            return
        lower = line.lower()
        has_values = "loss" in lower or "reward" in lower or "eval_" in lower
        if bar is not None:
            self._on_bar(bar, line, points, has_values=has_values)
        elif has_values and "{" in line:
            values = _logged(line)
            if values:
                self._on_dict(values, points)
        elif has_values:
            self._on_text(line, points)

    def _on_bar(self, bar: re.Match[str], line: str, points: list[Point], *, has_values: bool) -> None:
        before, step, total = bar[1].strip(), int(bar[2]), int(bar[3])
        if not before and self._waiting and self._bar_total in (0, total):
            self._bar_total = self.total = total
            self._place(step, points)
        if not before and total == self._bar_total:
            self._bar = step
        if not has_values or _OTHER_BAR.search(before):
            return
        pairs = _pairs(f"{line[: bar.start(2)]} {line[bar.end() :]}")
        if not _is_loss(pairs):
            return
        torchtune = _TORCHTUNE.match(before.partition("Loss:")[0])
        if torchtune is not None:
            self._report(int(torchtune[1]), pairs, points)
        else:
            self._on_step(step, total, pairs, points, _whole(pairs, EPOCH))

    def _on_dict(self, values: dict[str, float], points: list[Point]) -> None:
        if any(key in values for key in SUMMARIES):
            return
        if self._waiting and self._is_same_step(values):
            self._waiting = {**values, **self._waiting}
            return
        self._place(None, points)
        self.total = total_of(values, self.total)
        step = step_of(values)
        if step is not None:
            self._on_step(step, 0, values, points)
        elif any(key.startswith("eval") for key in values):
            self._report(max(self._bar, self._step), values, points)
        else:
            self._waiting = values

    def _is_same_step(self, values: dict[str, float]) -> bool:
        """Return whether a dict repeats the one that waits: LLaMA-Factory logs what the Trainer does, once more."""
        epoch, loss = self._waiting.get(EPOCH), self._waiting.get("loss", math.nan)
        if epoch is None or epoch != values.get(EPOCH):
            return False
        return bool(self._bar_total) or math.isclose(loss, values.get("loss", math.nan), rel_tol=2e-3)

    def _on_text(self, line: str, points: list[Point]) -> None:
        pairs = _pairs(line)
        if not _is_loss(pairs):
            return
        parts = {word.lower(): (int(at), int(of)) for word, at, of in _PART.findall(line)}
        epoch, epochs = parts.pop(EPOCH, (_whole(pairs, EPOCH), 0))
        step, of = next(iter(parts.values()), (_whole(pairs, *STEPS), 0))
        if step >= 0:
            self._on_step(step, of, pairs, points, epoch, epochs)
        elif epoch >= 0:
            self._on_step(epoch, epochs, pairs, points)
        elif has_loss(pairs) and not _left_of(line):
            self._place(None, points)
            self._waiting = pairs

    def _on_step(
        self,
        step: int,
        of: int,
        values: dict[str, float],
        points: list[Point],
        epoch: int = -1,
        epochs: int = 0,
    ) -> None:
        self._place(None, points)
        placed = self._laps.place(step, of, epoch)
        if placed is not None:
            if of:
                self.total = of if not self._laps.base else of * epochs
            self._report(placed, values, points)

    def _place(self, step: int | None, points: list[Point]) -> None:
        """Report the values that wait, at a step, or without one at the step that follows."""
        if not self._waiting:
            return
        values, self._waiting = self._waiting, {}
        self.guesses = step is None
        self._report(max(self._bar, self._step + 1) if step is None else step, values, points)

    def _report(self, step: int, values: dict[str, float], points: list[Point]) -> None:
        if not any(key.startswith(("eval", "val")) for key in values) or step > self._step:
            self._step = step
        wanted = {key: value for key, value in metrics_of(values).items() if key not in NOT_VALUES}
        if wanted:
            points.append(Point(step, wanted))


class _Laps:
    """Turns steps that are counted anew in each epoch into steps of the run."""

    def __init__(self) -> None:
        self.base = 0  # steps of the epochs before
        self._last, self._stride, self._of, self._epoch = -1, 1, 0, -1
        self._recent: deque[int] = deque(maxlen=RECENT)

    def place(self, step: int, of: int, epoch: int) -> int | None:
        """Return the step of the run; None for one that another process of the run has printed before."""
        of = of or self._of
        if step < self._last:
            at_end = 0 < of <= self._last + self._stride and of == self._of
            if at_end or 0 <= self._epoch < epoch:
                self.base += of or self._last
                self._recent.clear()
            elif step in self._recent:
                return None
            else:
                self.base = 0  # it began anew
                self._recent.clear()
        elif step > self._last >= 0:
            self._stride = step - self._last
        self._last, self._of, self._epoch = step, of, max(epoch, -1)
        self._recent.append(step)
        return self.base + step


def _whole(values: dict[str, float], *keys: str) -> int:
    """Return the first of some values that is there, as a whole number; -1 if none is."""
    value = first(values, keys)
    return -1 if value is None else int(value)


def _is_loss(values: dict[str, float]) -> bool:
    return any(key.lower().endswith("loss") or key.lower() == "reward" for key in values)


def _logged(line: str) -> dict[str, float]:
    """Return the numbers of a dict that logs a step; empty for any other, such as a configuration."""
    if _OF_THE_RUN.search(line.partition("{")[0]):
        return {}
    for text in _DICT.findall(line):
        values = flat(_mapping(text), texts=True)
        knows_when = EPOCH in values or step_of(values) is not None
        if knows_when and (_is_loss(values) or any(key.startswith("eval_") for key in values)):
            return values
        if has_loss(values) and text == line.strip():
            return values
    return {}


def _pairs(line: str) -> dict[str, float]:
    """Return the numbers of a line of `key=1.2`, `key: 1.2` and `loss 1.2`, by their keys in lower case."""
    pairs: dict[str, float] = {}
    for match in _PAIR.finditer(line):
        before, key = (match["before"] or "").lower(), match["key"].lower()
        if not match["sign"].strip(" \t") and key not in NAMED:
            continue
        if before in EVAL:
            key = f"eval_{key}"
        elif before and before not in (*TRAIN, *LEVELS):
            continue  # `best loss: 0.1` is another number
        value = number(match["value"], texts=True)
        if value is not None:
            pairs.setdefault(key, value)
    return pairs


def _left_of(line: str) -> str:
    """Return what a line has besides its pairs, the time and the level of a logger."""
    left = _PAIR.sub(" ", line)
    return "" if _LEVEL.fullmatch(left) else left


def _mapping(text: str) -> dict[str, Any]:
    """Read a JSON object or a Python dict; empty for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(_BARE.sub(r"'\g<0>'", _WRAPPED.sub(r"\1", text)))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return {}
    return value if isinstance(value, dict) else {}


class Stdout(Source):
    about = "what it prints: the Trainer's dicts, JSON, key=value, progress bars"
    rank = 3
    waits = True

    def find(self, places: Places) -> Iterator[Path]:
        if places.log is not None and places.log.is_file():
            yield places.log
        for folder in places.folders:
            torchtunes = (*folder.glob("log_*.txt"), *folder.glob("logs/log_*.txt"))
            yield from filter(places.is_new, torchtunes)

    def open(self, path: Path, places: Places) -> Printed:
        return Printed(path, places.log_begins if path == places.log else 0)


PLUGIN = Stdout()
