"""The page of a chat's settings: system prompt, sampling, length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from textual import on

from finetop.core.features.chat.messages import ChatSettings
from finetop.core.text import clean_line, count
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, moves
from finetop.tui.screens.pages import TablePage
from finetop.tui.text import Line, cursor_mark, cut_end, line_width, spread
from finetop.tui.widgets.frame import next_line
from finetop.tui.widgets.table import Table

EDIT = Key("enter", "edit", "edit", "edit the setting; template and first side: the other value")
RESET = Key("u", "default", "reset", "back to the default; the system prompt: the one of training")
BACK = Key("escape,s", "back", "back", "back to the chat: the next prompt uses these")
_LABEL, _VALUE = 18, 12  # cells
MOST_TOKENS = 32_768
MOST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its field, its label, what it does, and how its text is read; `read` raises ValueError."""

    name: str
    label: str
    about: str
    range: str
    read: Callable[[str], Any]


def _number(text: str, least: float, most: float, *, is_above: bool = False) -> float:
    number = float(text)
    if not math.isfinite(number) or not least <= number <= most or (is_above and number == least):
        raise ValueError(text)
    return number


def _whole(text: str, least: int, most: int) -> int:
    number = int(text.replace(",", ""))
    if not least <= number <= most:
        raise ValueError(text)
    return number


SETTINGS = (
    Setting("system", "system prompt", "begins every conversation; empty: none", "", str),
    Setting(
        "temperature", "temperature", "0 always picks the likeliest token", "a number from 0 to 5",
        lambda text: _number(text, 0.0, 5.0),
    ),
    Setting(
        "top_p", "top_p", "samples from the likeliest tokens of this share", "a number above 0, up to 1",
        lambda text: _number(text, 0.0, 1.0, is_above=True),
    ),
    Setting("seed", "seed", "of the sampling: the same one repeats an answer", "a whole number from 0",
            lambda text: _whole(text, 0, MOST_SEED)),
    Setting("max_new_tokens", "at most", "tokens of an answer", f"a whole number from 1 to {count(MOST_TOKENS)}",
            lambda text: _whole(text, 1, MOST_TOKENS)),
    Setting("raw", "chat template", "off: the prompt as it is, as a benchmark's item", "", bool),
    Setting("first", "answers first", "the other one waits for it", "", int),
)  # fmt: skip


def fault(setting: Setting, text: str) -> str:
    """Return why a text can't be a setting's value; empty if it can."""
    try:
        setting.read(text.strip())
    except ValueError:
        return f"{setting.label} must be {setting.range}, not {clean_line(text.strip())!r}"
    return ""


class SettingsPage(TablePage[ChatSettings], inherit_bindings=False):
    """The settings, one a row; leaving returns them."""

    KEYS = (EDIT, RESET, BACK, *moves("setting"))
    TITLE = "Chat settings"

    def __init__(self, settings: ChatSettings, trained_system: str, sides: Sequence[str]) -> None:
        super().__init__()
        self.settings, self._trained_system, self._sides = settings, trained_system, sides

    def on_mount(self) -> None:
        self._show()

    def _shown(self, setting: Setting) -> str:
        """Return a setting's value as it is shown and edited."""
        value = getattr(self.settings, setting.name)
        match setting.name:
            case "raw":
                return "off" if value else "on"
            case "first":
                return clean_line(self._sides[min(value, len(self._sides) - 1)])
            case "system":
                return self._trained_system if value is None else str(value)
        return f"{value:g}" if isinstance(value, float) else str(value)

    def _about(self, setting: Setting) -> str:
        is_usual = setting.name == "system" and self.settings.system is None and self._trained_system
        return "as in training" if is_usual else setting.about

    def _show(self) -> None:
        self.show_title("Settings of the chat", "both models alike, from the next prompt on")
        self.query_one(Table).show(len(SETTINGS))
        self.bottom.offer((next_line("esc", "back to the chat"),), (EDIT, RESET, BACK))

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        setting = SETTINGS[index]
        value = clean_line(self._shown(setting)) or "none"
        about: Line = ((self._about(setting), "dim"), (" ", ""))
        name: Line = (cursor_mark(has_cursor), (f"  {setting.label:<{_LABEL}}", "bold" if has_cursor else ""))
        room = width - _LABEL - 4 - line_width(about)
        text = cut_end(value, room if room >= _VALUE else width - _LABEL - 4)
        return spread((*name, (text, "")), about, width)

    @on(Table.Opened)
    def action_edit(self) -> None:
        setting = SETTINGS[self.query_one(Table).cursor]
        if setting.name == "raw":
            self._set(setting, not self.settings.raw)
            return
        if setting.name == "first":
            self._set(setting, (self.settings.first + 1) % len(self._sides))
            return

        def done(text: str, is_kept: bool) -> None:
            if is_kept:
                self._set(setting, setting.read(text.strip()))

        self.bottom.ask_text(
            setting.label,
            self._shown(setting),
            done=done,
            fault=lambda text: fault(setting, text),
            keep="set",
            leave="cancel",
        )

    def action_reset(self) -> None:
        setting = SETTINGS[self.query_one(Table).cursor]
        usual = getattr(ChatSettings(), setting.name)
        if getattr(self.settings, setting.name) == usual:
            host_of(self).say(f"{setting.label} has its default value.")
        else:
            self._set(setting, usual)

    def _set(self, setting: Setting, value: object) -> None:
        self.settings = replace(self.settings, **{setting.name: value})
        self._show()

    def action_back(self) -> None:
        self.dismiss(self.settings)
