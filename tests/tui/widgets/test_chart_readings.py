"""What a reader reads off a chart is the data: ticks, ends, extremes and the cursor, from the store to the picture."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from random import Random

import duckdb
import pytest

from finetop.core.protocol.messages.runs import Curve
from finetop.core.store import metrics
from finetop.tui.widgets.axis import Scale, share_of, x_end
from finetop.tui.widgets.chart import GUTTER, columns_of, draw, plot_width
from finetop.tui.widgets.series import Series, View, fitted, value_at

CASES = int(os.environ.get("FINETOP_CHART_CASES", "400"))  # 20,000 take five minutes of CPU
PARTS = 4
TINY = 1e-8  # span of an axis whose differences are longer than a label
SIZES = ((20, 4), (38, 8), (52, 9), (80, 16), (98, 14), (120, 30), (200, 50))
UNITS = {"k": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True)
class Case:
    """A run's values by step, None where one is not finite, and how they are looked at."""

    values: dict[int, float | None]
    planned: int
    size: tuple[int, int]
    zoom: tuple[int, int] | None
    is_log: bool


def case_of(random: Random) -> Case:
    number, every = random.choice((1, 2, 3, 8, 40, 300, 2000)), random.choice((1, 1, 1, 5, 10))
    first = random.choice((0, 1, 1, every, 700))
    size, level = 10.0 ** random.randint(-12, 12), random.choice((0.0, 1.0, 1.0, -1.0, 100.0))
    noise = random.choice((0.0, 1e-3, 0.1, 1.0))
    shape = random.choice(("noise", "fall", "rise", "wave", "spikes"))
    values: dict[int, float | None] = {}
    bad, gap = random.choice((0.0, 0.0, 0.1)), random.choice((0.0, 0.0, 0.5))
    for at in range(number):
        share = at / number
        if gap and 0.3 < share < 0.3 + gap * random.random():
            continue
        y = {
            "fall": 3 * math.exp(-5 * share), "rise": share, "wave": math.sin(9 * share),
            "spikes": 50.0 * (random.random() < 0.02),
        }.get(shape, 0.0)  # fmt: skip
        y = size * (level + y + noise * random.gauss(0, 1))
        values[first + at * every] = None if random.random() < bad else y
    last = max(values)
    zoom = None
    if random.random() < 0.5:
        begin = random.randint(0, last)
        zoom = (begin, begin + random.choice((8, 30, max(8, last // 3))))
    planned = random.choice((0, last, last, 2 * last + 1, last * 10 + 1))
    return Case(values, planned, random.choice(SIZES), zoom, random.random() < 0.3)


def curve_of(case: Case, view: View, width: int) -> Curve | None:
    """Return the curve as the store bins it."""
    connection = _connection()
    connection.execute(
        "CREATE OR REPLACE TABLE metrics AS SELECT 1 AS run_id, 'loss' AS key, unnest(?::INTEGER[]) AS step,"
        " unnest(?::DOUBLE[]) AS value",
        [list(case.values), list(case.values.values())],
    )
    first, last = int(view.first), int(view.last)
    found = metrics.curves(connection, 1, ["loss"], columns=columns_of(width), first=first, last=last)
    return found[0] if found else None


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"threads": 1})


def read(label: str) -> tuple[float, float]:
    """Return the number that a label says, and half of the unit of its last digit."""
    label = label.replace(",", "")
    size = UNITS.get(label[-1], 1.0)
    head, _, power = label.rstrip("kMB").partition("e")
    unit = size * 10.0 ** (int(power or 0) - len(head.partition(".")[2]))
    return float(head) * size * 10.0 ** int(power or 0), 0.51 * unit


def dots_of(rows: list[str]) -> dict[int, list[int]]:
    """Return the dot rows that are set, by dot column."""
    dots: dict[int, list[int]] = {}
    masks = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
    for y, row in enumerate(rows):
        for x, letter in enumerate(row[GUTTER:]):
            if 0x2800 < ord(letter) < 0x2900 and letter != "⢕":
                for half, mask in enumerate(masks):
                    for down, bit in enumerate(mask):
                        if (ord(letter) - 0x2800) & bit:
                            dots.setdefault(2 * x + half, []).append(4 * y + down)
            elif letter == "•":
                dots.setdefault(2 * x, []).append(4 * y + 1)
    return dots


def y_at(scale: Scale, value: float, rows: int) -> float:
    share = share_of(scale, value)
    assert share is not None, f"{value} is not on {scale}"
    return (1 - share) * (4 * rows - 1)


def check(case: Case, random: Random) -> None:
    """Read a case's picture. Raises AssertionError where it says something else than the data."""
    (width, height), newest = case.size, max(case.values)
    first, last = case.zoom or (0, x_end(newest, case.planned))
    view = View(first, last, is_log=case.is_log)
    curve = curve_of(case, view, width)
    series = [] if curve is None else [Series(curve)]
    scale = fitted(None, series, view)
    lines = draw(series, width=width, height=height, view=view, scale=scale)
    texts = ["".join(text for text, _ in line) for line in lines]
    cells, rows, picture = plot_width(width), height - 1, texts[:-1]
    visible = {
        step: value for step, value in case.values.items() if first <= step <= last and value is not None
    }
    drawn = {step: value for step, value in visible.items() if value > 0 or not case.is_log}
    check_x_axis(texts[-1], first, last, cells)
    dots = dots_of(picture)
    if scale is None:
        assert not drawn and not dots
        assert ("no data yet" in "".join(picture)) == (not visible), (
            "values that have no place are no absence"
        )
        return
    check_y_axis(picture, scale, rows)
    if curve is not None:
        check_cursor(case, curve, view, cells, visible, random)
    if case.is_log and len(drawn) < len(visible):
        return  # means of bins with values below 0 have no place
    columns = {
        step: min((step - first) * 2 * cells // max(last - first, 1), 2 * cells - 1) for step in visible
    }
    mark = 1 if any("•" in row for row in picture) else 0  # a mark is in its cell's left half
    for step, column in ((min(visible), min(dots)), (max(visible), max(dots))):
        assert abs(column - columns[step]) <= mark, f"step {step} is at {columns[step]}, drawn at {column}"
    reach = 1.51 + 2 * mark  # a line may be two dots thick
    top, bottom = min(map(min, dots.values())), max(map(max, dots.values()))
    for value, row in ((max(visible.values()), top), (min(visible.values()), bottom)):
        assert abs(row - y_at(scale, value, rows)) <= reach, (
            f"{value} should be at {y_at(scale, value, rows)}: {row}"
        )


def check_x_axis(text: str, first: float, last: float, cells: int) -> None:
    axis = text[GUTTER:]
    labels: list[tuple[int, str]] = []
    at = 0
    for word in axis.split():
        at = axis.index(word, at)
        labels.append((at, word))
        at += len(word)
    assert len({word for _, word in labels}) == len(labels), axis
    assert labels, axis
    end, half = read(labels[-1][1])
    assert abs(end - last) <= half, f"the axis ends at {last}: {axis}"
    for at, word in labels[:-1]:
        value, half = read(word)
        cell = (value - first) / (last - first) * cells
        around = half / (last - first) * cells
        assert at - around - 1 <= cell <= at + len(word) + around + 1, (
            f"{word} belongs to cell {cell}: {axis}"
        )


def check_y_axis(picture: list[str], scale: Scale, rows: int) -> None:
    labels = [(y, row[:GUTTER].strip()) for y, row in enumerate(picture) if row[:GUTTER].strip()]
    is_tiny = scale.high - scale.low < TINY
    assert len(labels) > 1 or rows < 4 or is_tiny, f"one number is no scale: {labels} {scale} {rows}"
    base, rounding = next(
        (read(text) for _, text in reversed(labels) if not text.startswith("+")), (0.0, 0.0)
    )
    for y, text in labels:
        value, half = read(text)
        if text.startswith("+"):
            value, half = value + base, half + rounding
        high, low = unbounded(scale, value + half), unbounded(scale, value - half)
        places = [(1 - share) * (4 * rows - 1) for share in (high, low)]
        assert places[0] - 4 <= 4 * y + 1.5 <= places[1] + 4, f"{text} is on row {y} of {rows}, {scale}"


def unbounded(scale: Scale, value: float) -> float:
    """Return a value's position on the axis or beyond it."""
    if not scale.is_log:
        return (value - scale.low) / (scale.high - scale.low)
    return math.log(max(value, 1e-300) / scale.low) / math.log(scale.high / scale.low)


def check_cursor(
    case: Case, curve: Curve, view: View, cells: int, visible: dict[int, float], random: Random
) -> None:
    span = max(view.last - view.first, 1)
    by_cell: dict[int, list[int]] = {}
    for step in visible:
        column = min(int((step - view.first) * 2 * cells // span), 2 * cells - 1)
        by_cell.setdefault(column // 2, []).append(step)
    for cell in {random.randrange(cells) for _ in range(8)} | set(
        random.sample(sorted(by_cell), min(4, len(by_cell)))
    ):
        reading = value_at(Series(curve), cell)
        before = [at for at in by_cell if at <= cell]
        if not before:
            assert reading is None
            continue
        steps = by_cell[max(before)] if cell in by_cell else None
        assert reading is not None
        if steps is None:  # of an empty cell: the newest point before
            column = max(2 * at + 1 for at in before)
            assert reading.step == max(step for at in before for step in by_cell[at]), column
            steps = [at for at in by_cell[max(before)] if at <= (reading.step or 0)][-reading.number :]
        assert reading.step == max(steps) and reading.number == len(steps)
        mean = math.fsum(visible[step] for step in steps) / len(steps)
        largest = max(abs(visible[step]) for step in steps)
        assert math.isclose(reading.value, mean, rel_tol=1e-9, abs_tol=1e-12 * largest), (steps, mean)


@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_read_off_the_picture_is_the_data(part: int) -> None:
    faults = []
    for number in range(part, CASES, PARTS):
        random = Random(number)
        case = case_of(random)
        try:
            check(case, random)
        except AssertionError as error:
            faults.append(f"case {number}: {str(error).splitlines()[0]}")
    assert not faults, f"{len(faults)} of {CASES // PARTS} cases:\n" + "\n".join(faults[:12])
