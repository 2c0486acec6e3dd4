"""A bar that shows a share in eighths of a cell."""

from __future__ import annotations

from finetop.tui.text import Line
from finetop.tui.theme import StyleName

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
FREE = "░"


def eighths(share: float, width: int) -> str:
    """Draw a share of `width` cells; any share above 0 is visible."""
    parts = round(min(1.0, max(0.0, share)) * width * 8) or int(share > 0)
    return "█" * (parts // 8) + _EIGHTHS[parts % 8]


def share_bar(share: float, width: int, style: StyleName) -> Line:
    """Draw a share in its style, and the rest of `width` cells faintly."""
    full = eighths(share, width)
    return ((full, style), (FREE * (width - len(full)), "faint"))
