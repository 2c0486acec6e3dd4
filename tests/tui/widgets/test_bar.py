from __future__ import annotations

from finetop.tui.text import line_width
from finetop.tui.widgets.bar import eighths, share_bar


def test_a_share_is_drawn_in_eighths() -> None:
    drawn = {0.0: "", 0.001: "▏", 0.5: "██", 0.53125: "██▏", 0.97: "███▉", 1.0: "████", 7.0: "████", -1.0: ""}
    assert {share: eighths(share, 4) for share in drawn} == drawn
    assert all(line_width(share_bar(share, 4, "cyan")) == 4 for share in drawn)
