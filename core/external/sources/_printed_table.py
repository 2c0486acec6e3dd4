"""A table that a program prints row by row: a line of names, then lines of as many numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from finetop.core.external.sources._json_lines import number
from finetop.core.external.sources._printed_line import EPOCH, Row

_GAP = re.compile(r"\s{2,}|\t")
_SPACE = re.compile(r"\s+")
RULE = frozenset(" |+:=─━-	")  # the line below the names
_NAME = re.compile(r"[A-Za-z#_][\w#%()./ -]{0,60}")
_SHARE = re.compile(r"(\d{1,9})/(\d{1,9})")  # YOLO's `1/100`
AT = (
    "step",
    "steps",
    "global_step",
    "iter",
    "iteration",
    "#",
    "batch",
    EPOCH,
    "e",
    "round",
)  # the best first
MOST_COLUMNS = 60


@dataclass
class PrintedTable:
    """The names of the table that is being printed; none outside of one."""

    columns: list[str] = field(default_factory=list)
    _separator: str = ""
    _rules: list[int] = field(
        default_factory=list
    )  # where the columns begin, as the line below the names has it
    _is_new: bool = False

    def begin(self, line: str) -> bool:
        """Return whether a line names the columns of a table with a loss and a step."""
        for separator in ("|", "  ", " "):
            cells = _cells(line, separator)
            names = [_key(cell) for cell in cells]
            if 2 <= len(names) <= MOST_COLUMNS and self._are_names(cells, names):
                self.columns, self._separator, self._rules, self._is_new = names, separator, [], True
                return True
        return False

    def row(self, line: str) -> Row | None:
        """Return a row of the table; None for a line that is none, which ends it."""
        if self._is_new and "-" in line and RULE.issuperset(line):
            self._is_new = False
            if "|" not in line:
                self._rules = [match.start() for match in re.finditer(r"[-=─━]+", line)]
            return Row({})
        self._is_new = False
        cells = self._split(line)
        if len(cells) != len(self.columns):
            self.columns = []
            return None
        named = dict(zip(self.columns, cells, strict=True))
        values = {
            key: value for key, cell in named.items() if (value := number(cell, texts=True)) is not None
        }
        row = Row({key: value for key, value in values.items() if key not in AT})
        for key in AT:
            cell = named.get(key, "")
            share = _SHARE.fullmatch(cell)
            if not share and not cell.isdecimal():
                continue
            at, of = (int(share[1]), int(share[2])) if share else (int(cell), 0)
            row = row._replace(step=at, of=of)
            break
        if row.step < 0 or not any("loss" in key for key in row.values):
            self.columns = []
            return None
        return row

    def _are_names(self, cells: list[str], names: list[str]) -> bool:
        has_loss = any("loss" in name for name in names)
        return has_loss and any(name in AT for name in names) and all(map(_NAME.fullmatch, cells))

    def _split(self, line: str) -> list[str]:
        if len(self._rules) == len(self.columns):
            ends = [*self._rules[1:], len(line)]
            return [line[begin:end].strip() for begin, end in zip(self._rules, ends, strict=True)]
        return _cells(line, self._separator)


def _cells(line: str, separator: str) -> list[str]:
    text = line.strip()
    if separator == "|":
        return [cell.strip() for cell in text.strip("|").split("|")] if text.count("|") > 1 else []
    return (_GAP if separator == "  " else _SPACE).split(text)


def _key(name: str) -> str:
    return "_".join(name.lower().split())
