"""What the program prints: the Trainer's dicts, JSON, `step 5/100 | loss 1.2`, tables, and progress bars.

Strict: a line counts if it has a loss and a step, or is nothing but such values. The Trainer prints no step with its
dict, but redraws its progress bar right after it, which has the step. Without either, each line counts as a step.
"""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import (
    SUMMARIES,
    has_loss,
    metrics_of,
    number,
    step_of,
    total_of,
)
from finetop.core.external.sources._printed_line import (
    EPOCH,
    NOT_VALUES,
    Row,
    is_loss,
    is_nothing_else,
    logged,
    pairs_of,
    row_of,
    whole,
)
from finetop.core.external.sources._printed_steps import Laps, Rows
from finetop.core.external.sources._printed_table import PrintedTable
from finetop.core.external.sources._tail import Tail
from finetop.core.runtime.limits import limited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|\x08")
# tqdm's ` 50%|█████     | 5/10 [00:01<00:01`, with what stands before it; rich's `━━━━╸ 5/10 0:00:01`
_BAR = re.compile(r"^(.*?)\b\d+%\|[^|]*\|\s*(\d{1,18})/(\d{1,18})\s*\[")
_RICH = re.compile(r"^([^━╸╺]*)[━╸╺]+\s*(\d{1,18})/(\d{1,18})\s+\d+:\d\d")
_TORCHTUNE = re.compile(r"^\d+\|(\d{1,18})\|$")  # before its bar: epoch, step, then `Loss: 1.2:`
_OTHER_BAR = re.compile(r"val|eval|test|predict|sanity", re.IGNORECASE)
# Keras' `60/60 - 3s - loss: 1.2`, `1/60 [>....] - ETA: 2s - loss: 1.2`, `1/60 ━━━ 2s 41ms/step - loss: 1.2`
_KERAS = re.compile(r"^\s{0,8}(\d{1,9})/(\d{1,9}|Unknown) ?(?:- \d|\[[=>.]*\] - |[━╸╺]+ ?\d)")
# above Keras' lines, and of many loops; what they print below tells no epoch
_HEADING = re.compile(
    r"^\s{0,8}Epoch:?\s{0,4}(\d{1,9})(?:\s?/\s?(\d{1,9}))?\s*(?:[:|].{0,40})?$", re.IGNORECASE
)
_STEP_HEADING = re.compile(
    r"\[(?:batch|step)=(\d{1,18})(?:/(\d{1,18}))?(?:,\s?epoch=\d+)?\]:?\s*$"
)  # Composer, OLMo
_INDENTED = re.compile(r"^\s+(?:Train )?([A-Za-z_][\w/.-]{0,100})[:=]\s?(\S{1,40})\s*$")
# the table of a Trainer's log_metrics, of the run as a whole
_TABLE, _ROW = re.compile(r"\*{5} \w+ metrics \*{5}\s*"), re.compile(r" +\w+ += ")
_LOSSES = ("loss", "reward", "eval_", "xent", "ppl")  # a line without any of these has none
OWN = ("finetop: ", "alarm: ", "over: ")  # lines of the job itself
LONGEST = 20_000  # characters of a line with numbers
MOST_BEHIND = 1 << 30  # bytes: a program may print 1 GB/s; what is passed over is counted
# A read takes so much CPU time, and the rest of one part. 100 MB of plain text take 1 s, of lines with numbers 45 s.
PART_BYTES, MOST_CPU_S = 64 << 10, 0.05
FLOOD_BYTES, FLOOD_CPU_S = 2 << 20, 0.25  # with so much unread
MATCHED, MATCH_S = (
    2_000,
    1.0,
)  # characters of a line, and time for a part of lines, that a recipe's pattern gets


class Printed(Reader):
    """The log of one job."""

    def __init__(self, path: Path, begins: int, pattern: str = "") -> None:
        super().__init__(path)
        self._pattern = pattern
        self._tail = Tail(path, begins, MOST_BEHIND, PART_BYTES)
        self._waiting: dict[str, float] = {}  # values without a step, until the next bar
        # the newest bar of the training, and its length, 0 if none is known
        self._bar, self._bar_total = 0, 0
        self._step = 0
        self._laps = Laps()
        self._rows = Rows()
        self._table = PrintedTable()
        self._in_table = False
        self._heading = (-1, 0)  # the epoch of the last heading, of how many
        self._is_in_epoch = False  # of Keras, which prints an evaluation in the same way
        self._block = -1  # the step of a heading whose values follow, indented
        self._drawn = ""  # the unfinished line that was there at the last read

    def read(self) -> list[Point]:
        points: list[Point] = []
        waited = dict(self._waiting)
        most = FLOOD_CPU_S if self._tail.left > FLOOD_BYTES else MOST_CPU_S
        until = time.process_time() + most
        while True:
            lines = [_plain(line) for line in self._tail.lines() if len(line) <= LONGEST]
            self.lines += sum(1 for line in lines if line and not line.startswith(OWN))
            if self._pattern:
                self._match(lines, points)
            else:
                for line in lines:
                    self._line(line, points)
            if not self._tail.behind or time.process_time() >= until:
                break
        self.passed_over, self.left = self._tail.passed_over, self._tail.left
        is_drawn = self._read_drawn(points)
        if waited and waited == self._waiting:
            self._place(None, points)  # no bar came
        self.behind = self._tail.behind or bool(self._waiting) or is_drawn
        return points

    def _read_drawn(self, points: list[Point]) -> bool:
        """Read a line that overwrites itself and stands since the last read; return whether one may yet stand."""
        drawn = self._tail.redrawn
        if drawn != self._drawn:
            self._drawn = drawn
            if self._waiting and (bar := _BAR.match(_plain(drawn))) is not None:
                self._on_bar(bar, "", points, has_values=False)
            return bool(drawn)
        if drawn and self._tail.take_redrawn():
            if self._pattern:
                self._match([_plain(drawn)], points)
            else:
                self._line(_plain(drawn), points)
        return False

    def _match(self, lines: list[str], points: list[Point]) -> None:
        """Read lines by the recipe's pattern, which may take no longer than a second for them."""
        found, until = [], time.thread_time() + MATCH_S
        try:
            with limited(MATCH_S):  # inside a line in the main thread alone
                for line in lines:
                    if match := re.search(self._pattern, line[:MATCHED]):
                        found.append(match)
                    if time.thread_time() > until:
                        raise TimeoutError
        except TimeoutError:
            self._pattern = ""
            print(
                f"finetop: command.pattern takes more than {MATCH_S:g} s for 64 KiB, and is no longer used",
                flush=True,
            )
            return
        for match in found:
            values = {
                key: number(text, texts=True) for key, text in match.groupdict().items() if text is not None
            }
            named = {key: value for key, value in values.items() if value is not None}
            self.total = int(named.pop("total", self.total))
            step, epoch = whole(named, "step"), whole(named, EPOCH)
            if step < 0 and epoch < 0:
                self.guesses, step = True, self._step + 1
            self._on_step(Row(named, *((step, 0, epoch) if step >= 0 else (epoch, 0, -1))), points)

    def _line(self, line: str, points: list[Point]) -> None:
        bar = (_BAR.match(line) if "%|" in line else None) or (_RICH.match(line) if "━" in line else None)
        if bar is not None and (dict_at := line.find("{", bar.end())) > 0:  # printed beside a bar
            self._on_bar(bar, line[:dict_at], points, has_values=False)
            bar, line = None, line[dict_at:]
        self._in_table = _TABLE.match(line) is not None or (self._in_table and _ROW.match(line) is not None)
        if self._in_table or line.startswith(OWN):
            return
        if self._table.columns and self._on_row(line, bar, points):
            return
        lower = line.lower()
        if not any(word in lower for word in _LOSSES):
            self._on_other(line, lower, bar, points)
        elif self._on_block(line, points):
            return
        elif bar is not None:
            self._on_bar(bar, line, points, has_values=True)
        elif "{" in line and (values := logged(line)):
            self._on_dict(values, points)
        elif "{" not in line and (keras := _KERAS.match(line)) is not None:
            self._on_keras(keras, line, points)
        elif "{" not in line and not self._table.begin(line):
            self._on_text(line, points)

    def _on_other(self, line: str, lower: str, bar: re.Match[str] | None, points: list[Point]) -> None:
        """Read a line without a loss: a bar, or the heading of what follows."""
        if bar is not None:
            self._on_bar(bar, line, points, has_values=False)
        elif "epoch" in lower and (heading := _HEADING.match(line)) is not None:
            self._heading, self._is_in_epoch = (int(heading[1]), int(heading[2] or 0)), True
        elif "]" in line and (heading := _STEP_HEADING.search(line)) is not None:
            self._block, self.total = int(heading[1]), int(heading[2] or self.total)
        elif self._block >= 0 and not line[:1].isspace():
            self._block = -1

    def _on_block(self, line: str, points: list[Point]) -> bool:
        """Read an indented value below the heading of a step."""
        if self._block < 0 or (match := _INDENTED.match(line)) is None:
            return False
        values = pairs_of(f"{match[1]}={match[2]}")
        if values:
            self._report(self._block, values, points)
        return True

    def _on_row(self, line: str, bar: re.Match[str] | None, points: list[Point]) -> bool:
        """Read a row of a printed table; return whether it is one."""
        if bar is not None:  # YOLO draws a bar behind each row, and its values stand when that is full
            if not line.strip() or "%|" not in line:
                return False
            is_full, line = bar[2] == bar[3], bar[1].rpartition(":")[0]
        else:
            is_full = True
            if not line.strip():
                return True
        row = self._table.row(line)
        if row is not None and row.values and is_full:
            self._on_step(row, points)
        return row is not None

    def _on_bar(self, bar: re.Match[str], line: str, points: list[Point], *, has_values: bool) -> None:
        before, step, total = bar[1].strip(), int(bar[2]), int(bar[3])
        if not before and self._waiting and self._bar_total in (0, total):
            self._bar_total = self.total = total
            self._place(step, points)
        if not before and total == self._bar_total:
            self._bar = step
        if not has_values or _OTHER_BAR.search(before):
            return
        pairs = pairs_of(f"{line[: bar.start(2)]} {line[bar.end() :]}")
        if not is_loss(pairs):
            return
        torchtune = _TORCHTUNE.match(before.partition("Loss:")[0])
        if torchtune is not None:
            self._report(int(torchtune[1]), pairs, points)
        else:
            of_epoch = row_of(f"{before} loss=0")
            epochs = of_epoch.epochs if of_epoch is not None else 0
            self._on_step(Row(pairs, step, total, whole(pairs, EPOCH), epochs), points)

    def _on_keras(self, bar: re.Match[str], line: str, points: list[Point]) -> None:
        """Read Keras' line of an epoch, whose heading names the epoch; one without a heading is an evaluation."""
        if self._heading[1] < 1 or not self._is_in_epoch:
            return
        step, total = int(bar[1]), int(bar[2]) if bar[2].isdecimal() else 0
        values = pairs_of(line[bar.end() :])
        if is_loss(values):
            self._on_step(Row(values, step, total, *self._heading), points)
        self._is_in_epoch = step != total

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
            self._on_step(Row(values, step), points)
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
        row = row_of(line)
        if row is None:
            return
        is_bare = row.step < 0 and row.epoch < 0
        if row.counts_rows and row.epoch < 0:
            row = row._replace(epoch=self._heading[0], epochs=self._heading[1])
        if row.step >= 0:
            self._on_step(row, points)
        elif row.epoch >= 0:
            self._on_step(row._replace(step=row.epoch, of=row.epochs, epoch=-1), points)
        elif is_bare and self._heading[0] >= 0 and is_nothing_else(line):
            self._on_step(Row(row.values, self._heading[0], self._heading[1]), points)
        elif has_loss(row.values) and is_nothing_else(line):
            self._place(None, points)
            self._waiting = row.values

    def _on_step(self, row: Row, points: list[Point]) -> None:
        self._place(None, points)
        if row.counts_rows:
            row = self._rows.counted(row)
            self.guesses = True
        placed = self._laps.place(row.step, row.of, row.epoch)
        if placed is not None:
            if row.of:
                self.total = (
                    row.of * (row.epochs or (1 if not self._laps.base else 0)) if row.epoch >= 0 else row.of
                )
            self._report(placed, row.values, points)

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


def _plain(line: str) -> str:
    """Return a line without what moves the cursor or sets colors."""
    return _ESCAPES.sub("", line) if "\x1b" in line or "\x08" in line else line


class Stdout(Source):
    about = "what it prints: the Trainer's dicts, JSON, key=value, tables, progress bars"
    rank = 3
    waits = True

    def find(self, places: Places) -> Iterator[Path]:
        if places.log is not None and places.log.is_file():
            yield places.log
        for folder in places.folders:
            torchtunes = (*folder.glob("log_*.txt"), *folder.glob("logs/log_*.txt"))
            yield from filter(places.is_new, torchtunes)

    def open(self, path: Path, places: Places) -> Printed:
        return Printed(path, places.log_begins if path == places.log else 0, places.pattern)


PLUGIN = Stdout()
