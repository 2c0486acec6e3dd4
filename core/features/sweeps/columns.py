"""The columns of a sweep, a row for each setting, and of a selection curve, a row for each selector and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from finetop.core.features.sweeps import seed_groups
from finetop.core.features.sweeps.curve_cells import Cell, Estimate
from finetop.core.features.sweeps.seed_groups import Setting
from finetop.core.protocol.runs import RunRow
from finetop.core.wording.columns import NOT_KNOWN, Column, exact
from finetop.core.wording.jobs import answer_words
from finetop.core.wording.units import plus_minus

Number = Callable[[RunRow], float | None]


def table(keys: Sequence[str], settings: Sequence[Setting]) -> list[Column[Setting]]:
    """Return the table of a sweep: the varied settings, the finished runs, and what these show."""
    return [*values(keys), DONE, loss(settings), TARGET, RETAINED, FORGOT]


def in_file(keys: Sequence[str], settings: Sequence[Setting]) -> list[Column[Setting]]:
    """Return the same table for a file: mean and standard deviation apart, with all digits."""
    target = seed_groups.metric(_runs(settings)) or TARGET.title
    measured = (
        (loss(settings).title, seed_groups.loss),
        (target, seed_groups.target),
        ("retained", seed_groups.retained),
    )
    numbers = [column for title, number in measured for column in _apart(title, number)]
    return [*values(keys), RUNS, FINISHED, *numbers, VERDICTS]


def values(keys: Sequence[str]) -> list[Column[Setting]]:
    """Return the columns of the varied settings, or of the run's name if only the seed varies."""
    return [_of_setting(key, place) for place, key in enumerate(keys)] or [RUN]


def loss(settings: Sequence[Setting]) -> Column[Setting]:
    """Return the column of the final loss: of evaluation, or of training."""
    return _spread(seed_groups.loss_label(_runs(settings)), seed_groups.loss, 3)


def curve() -> list[Column[Cell]]:
    """Return the table of a selection curve: a row for each selector and number of rows."""
    return [SELECTOR, ROWS, CELL_DONE, CELL_TARGET, AGAINST, CELL_RETAINED]


def against_words(cell: Cell) -> tuple[str, str]:
    """Return the difference from random rows, and its verdict; empty where there is none."""
    if cell.against == "same rows":
        return cell.against, ""
    return _short(cell.difference, sign=True), {"worse": "LOSES"}.get(cell.against, cell.against)


def _short(value: Estimate | None, *, sign: bool = False, digits: int = 3) -> str:
    """Format a mean with half its interval: '1.204 ± 0.017'."""
    if value is None:
        return NOT_KNOWN
    mean, half = f"{round(value.mean, digits) + 0.0:.{digits}f}", ""
    if value.high is not None:
        mean, half = plus_minus(value.mean, value.high - value.mean, digits)
    plus = "+" if sign and float(mean) > 0 else ""
    return f"{plus}{mean}" if value.high is None else f"{plus}{mean} ± {half}"


def _runs(settings: Sequence[Setting]) -> list[RunRow]:
    return [run for setting in settings for run in setting.runs]


def _of_setting(key: str, place: int) -> Column[Setting]:
    return Column(key, lambda setting: setting.values[place], is_right=False, is_prose=True)


def _spread(title: str, number: Number, digits: int, *, sign: bool = False) -> Column[Setting]:
    def text(setting: Setting) -> str:
        return seed_groups.spread_text(seed_groups.spread(setting.runs, number), digits, sign=sign)

    return Column(title, text)


def _apart(title: str, number: Number) -> tuple[Column[Setting], Column[Setting]]:
    """Return the columns of a mean and of its standard deviation."""

    def part(name: str, setting: Setting) -> str:
        return exact(getattr(seed_groups.spread(setting.runs, number), name, None))

    return Column(title, partial(part, "mean")), Column(f"{title} ±", partial(part, "deviation"))


def _verdicts(setting: Setting) -> str:
    return ", ".join(f"{count} {word}" for count, _, word in seed_groups.verdicts(setting.runs))


def _forgot(setting: Setting) -> str:
    """Return the verdicts of the seeds; of a single run the whole answer."""
    run, *others = setting.runs
    return _verdicts(setting) if others or run.check is None else answer_words(run)


RUN: Column[Setting] = Column("run", lambda setting: setting.runs[0].name, is_right=False)
RUNS: Column[Setting] = Column("runs", lambda setting: str(len(setting.runs)))
FINISHED: Column[Setting] = Column("finished", lambda setting: str(setting.finished))
DONE: Column[Setting] = Column("done", lambda setting: f"{setting.finished}/{len(setting.runs)}")
TARGET = _spread("target", seed_groups.target, 2)
RETAINED = _spread("retained", seed_groups.retained, 1, sign=True)
VERDICTS = Column("did it forget?", _verdicts, is_right=False)
FORGOT = Column("did it forget?", _forgot, is_right=False)
SELECTOR: Column[Cell] = Column("rows by", lambda cell: cell.by, is_right=False)
ROWS: Column[Cell] = Column("rows", lambda cell: f"{cell.rows:,}")
CELL_DONE: Column[Cell] = Column("done", lambda cell: f"{cell.finished}/{cell.runs}")
CELL_TARGET: Column[Cell] = Column("target", lambda cell: _short(cell.target), is_right=False)
AGAINST: Column[Cell] = Column(
    "against random", lambda cell: " ".join(filter(None, against_words(cell))), is_right=False
)
CELL_RETAINED: Column[Cell] = Column(
    "retained", lambda cell: _short(cell.retained, sign=True, digits=1), is_right=False, is_optional=True
)
