from __future__ import annotations

import pytest

from finetop.tui.text import line_width
from finetop.tui.widgets.bar import eighths, share_bar


@pytest.mark.parametrize(
    ("share", "drawn"),
    [
        (0.0, ""),
        (0.001, "▏"),
        (0.5, "██"),
        (0.53125, "██▏"),
        (0.97, "███▉"),
        (1.0, "████"),
        (7.0, "████"),
        (-1.0, ""),
    ],
)
def test_a_share_is_drawn_in_eighths(share: float, drawn: str) -> None:
    assert eighths(share, 4) == drawn
    assert line_width(share_bar(share, 4, "cyan")) == 4
