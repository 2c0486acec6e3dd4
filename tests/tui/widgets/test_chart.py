"""The chart: dots at exact cells, stable axes, and robustness against any data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from rich.cells import cell_len

from finetop.core.protocol.messages.runs import Curve
from finetop.tui.theme import SERIES, SERIES_FAINT
from finetop.tui.widgets.axis import Scale, round_end, scale_of, share_of, widened, x_end
from finetop.tui.widgets.chart import GUTTER, columns_of, draw, place_at, plot_width
from finetop.tui.widgets.series import Series, View, fitted, in_columns, settled_scale, smoothed, value_at
from finetop.tui.widgets.ticks import LABEL, x_ticks, x_words, y_ticks

VIEW = View(0, 100)


def curve(points: dict[int, float], bad: int = 0, spread: float = 0.0) -> Curve:
    values = list(points.values())
    lows, highs = [v - spread for v in values], [v + spread for v in values]
    return Curve("loss", list(points), lows, highs, values, 100, values[-1] if values else None, bad)


def rows_of(series: list[Series], width: int = 16, height: int = 5, **more: Any) -> list[str]:
    """Draw on a scale from 0 to 1 and return the rows."""
    more = {"view": VIEW, "scale": Scale(0.0, 1.0), **more}
    return ["".join(text for text, _ in line) for line in draw(series, width=width, height=height, **more)]


def dot(row: int, column: int, rows: list[str]) -> bool:
    """Return True if the dot at (row, column) is set, counted in dots from the top left."""
    bits = ord(rows[row // 4][GUTTER + column // 2]) - 0x2800
    return bits > 0 and bool(bits & ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))[column % 2][row % 4])


def test_values_gaps_spikes_points_and_the_limit_are_drawn_on_labelled_axes() -> None:
    rows = rows_of([Series(curve({0: 1.0, 1: 0.0, 4: 0.5}))])
    assert dot(0, 0, rows) and dot(15, 1, rows)
    assert dot(8, 4, rows) and not dot(8, 5, rows)
    # half of the way down belongs to the first column
    assert rows[0][GUTTER] == chr(0x2800 + 0x01 + 0x02 + 0x04 + 0x40)
    assert rows[3][GUTTER] == chr(0x2800 + 0x08 + 0x10 + 0x20 + 0x80)
    rows = rows_of([Series(curve({0: 1.0}))], width=28, view=View(0, 1200))
    assert rows[0].startswith("  1.0 ") and rows[3].startswith("    0 ")
    assert rows[4] == " step 0       500      1,200"
    # without UTF-8 a cell has one mark
    rows = rows_of([Series(curve({0: 1.0, 1: 0.0, 2: 0.5}))], only_ascii=True)
    assert all(row.isascii() for row in rows)
    assert set("".join(row[GUTTER:] for row in rows[:4])) <= set(" .:'")
    dense = rows_of([Series(curve({0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5, 8: 0.5, 9: 0.5}))])
    assert dense[2][GUTTER : GUTTER + 5] == "⠉⠉┈┈⠉"
    sparse = rows_of([Series(curve({0: 0.5, 6: 0.5, 12: 0.5}))])
    assert sparse[2][GUTTER : GUTTER + 7] == "•⠉⠉•⠉⠉•", "points that are few are marked"
    # a spike is seen and the usual noise is not
    noisy = curve(dict.fromkeys(range(12), 0.25), spread=0.05)
    high = [*noisy.high[:6], 1.0, *noisy.high[7:]]
    spike = Curve("loss", noisy.column, noisy.low, high, noisy.mean, 1, 1.0, 0)
    assert not any(dot(row, 4, rows_of([Series(noisy)], scale=Scale(0.0, 4.0))) for row in range(11))
    assert all(dot(row, 6, rows_of([Series(spike)])) for row in range(11))
    # points are marks over the line
    line, points = Series(curve({0: 0.5, 1: 0.5, 2: 0.5})), Series(curve({2: 0.5}), is_points=True)
    assert rows_of([line, points])[2][GUTTER : GUTTER + 2] == "⠉•"
    assert rows_of([line, points], only_ascii=True)[2][GUTTER : GUTTER + 2] == "'o"
    # the limit
    rows = rows_of([Series(curve({0: 0.9, 1: 0.9}))], limit=0.9)
    assert rows[0] == "  1.0 ⠤-- limit ", "the limit's name replaces no tick"
    assert "limit" not in "".join(rows_of([Series(curve({0: 0.5}))], limit=2.0))  # out of range, so no line


def test_the_cursor_is_a_column_that_shows_what_it_crosses_and_cuts_no_label() -> None:
    crossed, view = [Series(curve({4: 0.5, 5: 0.5}))], View(0, 100, cursor=2)
    lines = draw(crossed, width=16, height=5, view=view, scale=Scale(0.0, 1.0))
    columns = ["".join(text for text, _ in line)[GUTTER + 2] for line in lines[:4]]
    assert columns == ["┊", "┊", "⠉", "┊"]
    assert ("⠉", "reverse") in lines[2]
    high = [Series(curve({0: 0.5, 2: 0.5}), end="91 -e7")]
    for cell in range(10):
        assert "91 -e7" in rows_of(high, view=View(0, 100, cursor=cell))[2]
    # an end letter stands behind the last point
    assert rows_of([Series(curve({0: 0.5, 2: 0.5}), end="A")])[2][GUTTER : GUTTER + 3] == "⠉⠁A"


@pytest.mark.parametrize("at", range(10))
def test_a_value_at_a_lines_end_and_the_marks_share_no_cell(at: int) -> None:
    high = [Series(curve({0: 0.5, 8: 1.0}), end="2.98")]
    rows = rows_of(high, width=18, marks={at: ("▾", ""), 9: ("✗", "red")})
    assert sum("2.98" in row for row in rows) == 1, "it has its place in another row"
    assert rows[0][GUTTER + at] in "▾✗" and "2.98" not in rows[0].replace("2.98 ", "")
    (row,) = (row for row in rows if "2.98" in row)
    assert row is not rows[0] or not set("▾✗") & set(rows[0][rows[0].index("2.98") - 1 :][:6])


def test_an_area_is_filled_only_down_to_a_zero_below_a_line_that_is_alone() -> None:
    line = [Series(curve({0: 0.9, 1: 0.9}))]
    assert "⢕" in "".join(rows_of(line, height=10, scale=Scale(0.0, 1.0)))
    assert "⢕" not in "".join(rows_of(line, height=10, scale=Scale(0.5, 1.0))), "half of it would be cut off"
    assert "⢕" not in "".join(rows_of(line, height=10, scale=Scale(0.001, 1.0, True)))
    lines = draw([Series(curve({0: 0.9, 1: 0.9}))], width=16, height=10, view=VIEW, scale=Scale(0.0, 1.0))
    column = ["".join(text for text, _ in line)[GUTTER] for line in lines[:9]]
    assert column == ["┈", "⠛", *"⢕" * 7]
    assert ("⢕", "series1 faint") in lines[8]
    both = draw(
        [Series(curve({0: 0.9})), Series(curve({0: 0.5}), style="series2")],
        width=16, height=10, view=VIEW, scale=Scale(0.0, 1.0),
    )  # fmt: skip
    assert "⢕" not in "".join(text for line in both for text, _ in line)


def test_nothing_one_point_and_values_that_are_not_finite() -> None:
    empty = draw([], width=30, height=5, view=VIEW, scale=fitted(None, [], VIEW))
    assert "no data yet" in "".join(text for line in empty for text, _ in line)
    single_point = [Series(curve({3: 2.5}))]
    rows = rows_of(single_point, scale=fitted(None, single_point, VIEW))
    assert sum(letter not in " ┈┊" for row in rows[:4] for letter in row[GUTTER:]) == 1
    series = [Series(curve({0: 1.0, 1: math.nan, 2: math.inf, 3: 0.0}))]
    assert fitted(None, series, VIEW) == Scale(0.0, 1.0)
    assert dot(0, 0, rows_of(series)) and dot(15, 3, rows_of(series))


@pytest.mark.parametrize("value", [0.0, 2.5, -3.0, 1e-300, 5e-324, 1e300, 1.7e308])
def test_constant_values_of_any_size_are_a_line(value: float) -> None:
    series = [Series(curve(dict.fromkeys(range(6), value)))]
    for is_log in (False, True):
        view = View(0, 100, is_log=is_log)
        rows = rows_of(series, view=view, scale=fitted(None, series, view))
        if value > 0 or not is_log:  # a logarithmic axis has no place for other values
            assert any(ord(letter) > 0x2800 for row in rows for letter in row)


def test_means_that_differ_in_their_last_digit_are_one_flat_line() -> None:
    middle = {at: math.nextafter(0.5, at % 2) for at in range(8)}  # between two dot rows
    assert rows_of([Series(curve(middle))])[2][GUTTER:].startswith("⠉⠉⠉⠉")


def test_the_range_widens_by_doubling_holds_the_limit_and_never_narrows() -> None:
    scale = scale_of(1.0, 3.0)
    assert scale == Scale(1.0, 3.0)
    assert widened(scale, 1.2, 2.0) is scale
    assert widened(scale, 1.2, 3.1) == Scale(1.0, 5.0)
    assert widened(scale, 1.2, 5.1) == Scale(1.0, 9.0)
    assert widened(scale, 0.9, 3.0) == Scale(0.0, 3.0)  # a loss is never below 0
    assert widened(scale, -0.5, 3.0) == Scale(-1.0, 3.0)
    assert widened(scale, 1.0, 1e9).high >= 1e9
    scale = fitted(None, [Series(curve({0: 0.0, 5: 0.01}))], VIEW, limit=0.1)
    assert scale is not None and scale.low == 0.0 and scale.high > 0.1


def test_the_x_axis_ends_at_the_plan_with_round_ticks_that_keep_apart() -> None:
    assert x_end(820, 1200) == 1200
    assert [x_end(step, 0) for step in (0, 50, 51, 101)] == [50, 50, 100, 200]
    assert x_end(1300, 1200) == 2400
    assert x_ticks(0, 1200, 52).text.split() == ["0", "200", "400", "600", "800", "1,000", "1,200"]
    assert x_ticks(0, 1203, 52).text.split()[-1] == "1,203"
    assert x_ticks(0, 1200, 3).text == "0  "
    assert x_ticks(0, 100_000, 60).text.split()[1] == "20,000"
    # an axis that grows
    assert [round_end(least) for least in (1, 41, 60, 101, 720)] == [1, 50, 75, 150, 750]
    # places are written with their unit
    words = [x_words(820), x_words(51_200, "tokens"), x_words(2400, "time"), x_words(1.5, "epoch")]
    assert words == ["820", "51.2k tok", "40 min", "epoch 1.5"]


@pytest.mark.parametrize(
    ("last", "x", "unit", "labels"),
    [
        (1500.0, "time", "min", ["0", "5", "10", "15", "20", "25"]),
        (7200.0, "time", "h", ["0", "0.5", "1", "1.5", "2"]),
        (614_400.0, "tokens", "token", ["0", "200k", "400k", "614k"]),
        (2.0, "epoch", "epoch", ["0", "0.5", "1", "1.5", "2"]),
    ],
)
def test_other_axes_have_round_ticks_in_their_unit(last: float, x: Any, unit: str, labels: list[str]) -> None:
    ticks = x_ticks(0, last, 40, x)
    assert (ticks.unit, ticks.text.split()) == (unit, labels)


def test_y_ticks_are_round_short_and_differ() -> None:
    for low, high, *words in [
        (1.0, 2.9, "1.0", "1.5", "2.0", "2.5"), (0.0, 0.12, "0", "0.05", "0.10"),
        (-0.3, 0.4, "-0.2", "0", "0.2", "0.4"), (8e-5, 2e-4, "1e-4", "2e-4"),
        (4000, 4110, "4,000", "4,050", "4,100"), (120_000, 130_000, "120k", "125k", "130k"),
        (1e6, 3e6, "1.0M", "1.5M", "2.0M", "2.5M", "3.0M"), (1.0001, 1.0003, "1", "+1e-4", "+2e-4"),
        (-1e300, 1e300, "0", "5e299", "1e300"),
    ]:  # fmt: skip
        assert [text for _, text in y_ticks(Scale(low, high), 11)] == words


def test_a_logarithmic_axis_has_its_powers_of_ten_and_a_range_leaves_out_a_fast_start() -> None:
    assert [text for _, text in y_ticks(Scale(1e-3, 10.0, True), 11)] == ["0.001", "0.01", "0.1", "1", "10"]
    assert [text for _, text in y_ticks(Scale(0.8, 9.0, True), 11)] == ["1", "2", "5"]
    fall = [1 + 3 * math.exp(-at / 5) for at in range(100)]
    falling = [Series(curve({at: gap + y for at, y in enumerate(fall)})) for gap in (0.0, 0.1)]
    scale = settled_scale(falling, VIEW)
    assert scale is not None and scale.high < 1.3
    assert settled_scale([Series(curve({0: 0.0, 99: 1.0}))], VIEW) is not None
    assert settled_scale([Series(curve({at: float(at) for at in range(100)}))], VIEW) is None


def test_of_two_lines_the_last_is_seen_the_raw_curve_is_faint_and_a_band_is_filled() -> None:
    first, second = (Series(curve({0: 0.5, 1: 0.5}), style=style) for style in SERIES[:2])
    lines = draw([first, second], width=16, height=5, view=VIEW, scale=Scale(0.0, 1.0))
    assert ("⠉", "series2") in lines[2] and ("⠉", "series1") not in lines[2]
    # the raw curve beneath the smoothed one
    jumping = Series(curve({at: float(at % 2) for at in range(20)}))
    lines = draw([jumping], width=20, height=5, view=View(0, 100, smoothing=0.9), scale=Scale(0.0, 1.0))
    styles = {style for line in lines[:4] for _, style in line}
    assert {"series1", "series1 faint"} <= styles
    # a band between low and high
    series = [Series(curve({0: 0.5, 1: 0.5}, spread=0.5), has_band=True)]
    rows = rows_of(series)
    assert [row[GUTTER] for row in rows[:4]] == ["⢕", "⢕", "⠉", "⢕"]


def test_names_and_labels_keep_the_order_of_the_lines() -> None:
    values = dict(zip("ABCD", (0.0, 0.01, 0.02, 0.9), strict=True))
    series = [Series(curve({0: value, 19: value}), end=letter) for letter, value in values.items()]
    rows = rows_of(series, width=20, height=7, ends=4)
    assert "".join(row[16:].strip() for row in rows[:6]) == "DCBA"
    # labels in the picture
    values = {"A x": 0.31, "B x": 0.28}
    series = [Series(curve({0: 0.1 + value, 40: value}), end=end) for end, value in values.items()]
    for high in (0.8, 0.9, 1.0, 1.1, 1.3):
        rows = rows_of(series, width=27, height=8, scale=Scale(0.0, high))
        places = [next(at for at, row in enumerate(rows) if text in row) for text in ("A x", "B x")]
        assert places == sorted(places)
    # letters along the lines, each at cells of its own
    flat = dict.fromkeys(range(80), 0.5)
    rows = rows_of([Series(curve(flat), letter=letter) for letter in "AB"], width=46, has_letters=True)
    assert rows[2].count("A") >= 2 and rows[2].count("B") >= 2


def test_smoothing_and_the_value_at_a_cell() -> None:
    assert smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])
    assert smoothed([0.0, 1.0], 0.5) == pytest.approx([0.0, 2 / 3])
    series = Series(curve({2: 1.0, 3: 3.0, 9: 5.0}))
    assert value_at(series, 0) is None
    assert [value_at(series, cell) for cell in (1, 3, 4)] == [(2.0, 0, None), (3.0, 0, None), (5.0, 0, None)]
    facts = {"count": [1, 3, 12], "step": [20, 39, 99]}
    counted = replace(series, curve=msgspec.structs.replace(series.curve, **facts))
    assert [value_at(counted, cell) for cell in (1, 2, 4)] == [(2.5, 4, 39), (3.0, 3, 39), (5.0, 12, 99)]
    assert value_at(counted, 1, smoothing=0.9) == (pytest.approx(2.0526, abs=1e-3), 0, 39), (
        "where it is drawn"
    )
    assert place_at(View(0, 100), 0, 10) == 5
    # a curve of other columns keeps its places
    half = in_columns(curve({0: 1.0, 1: 2.0, 6: 3.0}), 10, 5)
    assert (half.column, half.mean, half.high) == ([0, 3], [1.5, 3.0], [2.0, 3.0])
    assert in_columns(curve({0: 1.0, 6: 3.0}), 10, 20).column == [0, 12]
    # two bins a cell
    assert columns_of(38) == 2 * plot_width(38) == 64


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


CURVES = {"smoothing": st.sampled_from([0.0, 0.6]), "is_log": st.booleans()}


@settings(max_examples=150, deadline=None)
@given(
    points=st.dictionaries(st.integers(-3, 90), NUMBERS, max_size=40),
    marks=st.dictionaries(st.integers(0, 90), NUMBERS, max_size=4),
    view=st.builds(View, st.just(0), st.just(1000), st.none() | st.integers(-2, 60), **CURVES),
    scale=st.none()
    | st.builds(lambda low, span: Scale(low, low + span), st.floats(-10, 10), st.floats(0, 10)),
    limit=st.none() | NUMBERS,
    drawn=st.fixed_dictionaries(
        {"width": st.integers(0, 50), "height": st.integers(0, 12), "only_ascii": st.booleans()}
    ),
)
def test_no_data_breaks_it_or_leaves_its_room(
    points: Any, marks: Any, view: View, scale: Scale | None, limit: float | None, drawn: dict[str, Any]
) -> None:
    series = [
        Series(curve(dict(sorted(points.items())))),
        Series(curve(dict(sorted(marks.items()))), is_points=True, end="B"),
    ]
    scale = fitted(scale, series, view, limit)
    lines = draw(series, **drawn, view=view, scale=scale, limit=limit)
    assert len(lines) == drawn["height"]
    for line in lines:
        text = "".join(part for part, _ in line)
        assert cell_len(text) <= drawn["width"] and text.isprintable()
        assert not drawn["only_ascii"] or text.replace("┊", ":").isascii()


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e300, 1e300), st.floats(0, 1e300), st.booleans(), st.integers(1, 40))
def test_ticks_are_within_the_axis_and_no_label_is_longer_than_its_room(
    value: float, span: float, is_log: bool, rows: int
) -> None:
    scale = scale_of(value, value + span, is_log=is_log)
    ticks = y_ticks(scale, rows)
    assert all(1 <= len(text) <= LABEL for _, text in ticks) and len(ticks) <= max(20, rows)
    assert all(share_of(scale, at) is not None for at, _ in ticks)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=20), is_log=st.booleans())
def test_a_live_range_holds_every_value_and_only_grows(values: list[float], is_log: bool) -> None:
    values = [abs(value) + 1e-30 for value in values] if is_log else values
    scale: Scale | None = None
    for value in values:
        wider = widened(scale, value, value, is_log=is_log)
        assert scale is None or (wider.low <= scale.low and wider.high >= scale.high)
        assert share_of(wider, value) is not None
        assert abs(value) > 1e299 or wider.low <= value <= wider.high
        scale = wider


_ends = st.tuples(st.floats(-1e9, 1e9), st.floats(-7, 9), st.booleans())


def _read(text: str) -> tuple[float, float]:
    """Return the number that a label says, and half of the unit of its last digit."""
    text = text.replace(",", "")
    size = {"k": 1e3, "M": 1e6, "B": 1e9}.get(text[-1], 1.0)
    head, _, power = text.rstrip("kMB").lower().partition("e")
    unit = size * 10.0 ** (int(power or 0) - len(head.partition(".")[2]))
    return float(head) * size * 10.0 ** int(power or 0), 0.5001 * unit


@settings(max_examples=200, deadline=None)
@given(_ends, st.integers(4, 40))
def test_what_is_read_off_the_y_axis_is_where_it_stands(ends: tuple[float, float, bool], rows: int) -> None:
    at, power, is_positive = ends
    low = abs(at) if is_positive else at
    span = max(10.0**power, abs(low) * 1e-6)
    scale = widened(None, low, low + span)
    ticks = y_ticks(scale, rows)
    assert len(ticks) > 1, "one number is no scale"
    (first, first_text), *others = ticks
    for value, text in ticks:
        assert share_of(scale, value) is not None and len(text) <= LABEL
    assert abs(_read(first_text)[0] - first) <= max(_read(first_text)[1], 0.005 * abs(first))
    for value, text in others:
        base = first if text.startswith("+") else 0.0
        number, half = _read(text.lstrip("+"))
        assert abs(base + number - value) <= max(half, 1e-9 * abs(value)), (text, value)
    texts = [text for _, text in ticks]
    assert len(set(texts)) == len(texts)


def test_small_numbers_are_labelled_in_full() -> None:
    assert [text for _, text in y_ticks(Scale(5e-6, 1e-5), 8)] == ["6e-6", "8e-6", "1e-5"]


def test_labels_limits_and_smoothed_lines_are_not_drawn_over() -> None:
    line = curve({0: 0.2, 1: 0.2, 2: 0.2, 3: 0.2})
    rows = rows_of([Series(line, end="0.21")], width=30, view=View(0, 100, cursor=3))
    assert any("0.21" in row for row in rows), "the cursor stands in a label, and leaves it"
    drawn = draw(
        [Series(line, end="0.21")], width=30, height=5, view=View(0, 100, cursor=3), scale=Scale(0, 1)
    )
    assert not any(style == "reverse" and text in "0.21" for row in drawn for text, style in row)
    falling = curve(dict(enumerate([0.9, 0.9, 0.1, 0.1, 0.1, 0.1])))
    row = rows_of([Series(falling)], limit=0.5)[2]
    assert "-" in row and "⢕" not in row, "the limit goes on over the fill"
    noisy = [curve({column: 0.5 + 0.4 * (-1) ** column for column in range(16)}) for _ in range(4)]
    for number, is_faint in ((2, True), (4, False)):
        series = [Series(each, style=SERIES[at]) for at, each in enumerate(noisy[:number])]
        picture = draw(series, width=16, height=5, view=View(0, 100, smoothing=0.9), scale=Scale(0, 1))
        styles = {style for row in picture for _, style in row}
        assert any(style in SERIES_FAINT for style in styles) is is_faint
