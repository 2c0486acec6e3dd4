"""News: what happens while the app is open, in a row, with the terminal's bell or its own notification."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.errors import FinetopError
from finetop.core.recipe import home_settings
from finetop.core.runtime.home import find_home
from finetop.core.text import clean_line, counted
from finetop.tui.text import cut_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.notices import Notice
    from finetop.core.runtime.home import Home

AT_ONCE = 20  # notices that are read; the list has the rest
BELL_S = 10.0  # between two bells
NOTIFICATION = 200  # cells
BELL = "\x07"


@dataclass(slots=True)
class Ringer:
    """When the terminal last rang."""

    rang_at: float = -math.inf

    def may_ring(self, now: float) -> bool:
        """Say whether the bell may ring, and take it that it does."""
        if 0 <= now - self.rang_at < BELL_S:
            return False
        self.rang_at = now
        return True


def words(notice: Notice, label: str) -> str:
    """Say what happened, and to which run; `label` names the machine where there are several."""
    name = f"{label}:{notice.run}" if label and notice.run else notice.run or label
    return clean_line(f"{name}: {notice.text}" if name else notice.text)


def sentence(news: Sequence[str]) -> str:
    """Say the newest of some news, and how many there are beside it."""
    more = len(news) - 1
    return f"{news[0]} (and {counted(more, 'other')}: :messages)" if more else news[0]


def own_settings(home: Home) -> home_settings.Settings:
    """Read the settings of this machine, where the terminal is; the defaults where they can't be read."""
    try:
        return home_settings.load(home if home.link is None else find_home())
    except FinetopError:
        return home_settings.Settings()


def notification(how: str, text: str) -> str:
    """Write the sequence by which a terminal shows a notification of its own; nothing where none is wanted."""
    shown = cut_end(clean_line(text).replace(";", ","), NOTIFICATION)
    return {"osc9": f"\x1b]9;finetop: {shown}\x07", "osc777": f"\x1b]777;notify;finetop;{shown}\x07"}.get(
        how, ""
    )
