"""The scatter chart of named points."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from finetop.tui.text import line_width
from finetop.tui.widgets.scatter import GUTTER, Spot, scatter


def drawn(*spots: Spot, limit: float | None = -3.0, width: int = 70, height: int = 8) -> list[str]:
    words = {"x_words": "{:.0f}".format, "y_words": "{:.2f}".format}
    lines = scatter(spots, width=width, height=height, limit=limit, **words)
    return ["".join(text for text, _ in line) for line in lines]


def test_points_lie_where_they_are_and_on_one_another_are_all_seen() -> None:
    picture = drawn(Spot("now", -9.1, 0.91), Spot("★a", -0.8, 0.90), Spot("base", 0.0, 0.71))
    assert "now" in picture[0] and "0.91" in picture[0]
    assert "base" in picture[-2] and "0.71" in picture[-2]
    best = next(line for line in picture if "★a" in line)
    assert picture[0].index("now") < picture[3].index("┊") < best.index("★a")
    assert "limit -3 ┊" in picture[-2] and picture[-1].rstrip().endswith("retained")
    picture = "\n".join(drawn(*(Spot(letter, -1.0, 0.5) for letter in "ABCDEFGH")))
    assert all(picture.count(letter) == 1 for letter in "ABCDEFGH")
    # no points or no room
    assert drawn() == [""] * 8
    assert drawn(Spot("A", 0.0, 0.0), width=20, height=3) == [""] * 3


numbers = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(
    spots=st.lists(
        st.builds(Spot, st.sampled_from(["A", "★b", "base", "日"]), numbers, numbers), max_size=12
    ),
    limit=st.none() | numbers,
    width=st.integers(1, 140),
    height=st.integers(1, 20),
)
def test_it_fits_whatever_it_shows(spots: list[Spot], limit: float | None, width: int, height: int) -> None:
    words = {"x_words": lambda number: f"{number:.0f}"[:8], "y_words": lambda number: f"{number:.0f}"[:6]}
    lines = scatter(spots, width=width, height=height, limit=limit, **words)
    assert len(lines) == height
    assert all(line_width(line) in (0, width) for line in lines), GUTTER


def test_each_name_has_a_row_of_its_own_crosses_no_limit_and_stands_apart() -> None:
    close = [Spot("now", -9.1, 0.91), Spot("b", -8.9, 0.91), Spot("★c", -0.8, 0.90), Spot("base", 0.0, 0.71)]
    picture = drawn(*close)
    for spot in close:
        (row,) = (line for line in picture if f" {spot.text} " in f"{line} ")
        assert row.split()[0] == f"{spot.y:.2f}"
        assert not any(f" {other.text} " in f"{row} " for other in close if other is not spot)
    picture = drawn(*(Spot(letter, -2.9, 0.5) for letter in "ABCDEFGH"), Spot("z", -9.0, 0.9), height=4)
    at = picture[0].index("┊")
    assert all(line.index(letter) >= at for letter in "ABCDEFGH" for line in picture if letter in line)
    picture = drawn(*(Spot(letter, -1.0, 0.5) for letter in "ABCDEFGH"), height=4)
    assert not any(f"{first} {second}" in "\n".join(picture) for first in "ABCDEFGH" for second in "ABCDEFGH")
    # a point beside the limit is not drawn on it
    picture = drawn(Spot("a", -2.99, 0.9), Spot("b", -3.01, 0.7), Spot("z", -90.0, 0.5))
    at = picture[0].index("┊") if "┊" in picture[0] else picture[3].index("┊")
    assert next(line for line in picture if "a" in line[8:]).index("a") > at
    assert next(line for line in picture if "b" in line[8:]).index("b") < at
