"""What holds on every screen: sizes, footer keys, the help."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from approach_fakes import ComparingSupervisor, measured
from chat_fakes import ChattingSupervisor, conversation
from compare_fakes import three
from drawn import drawn
from queue_fakes import QueueFake
from remedy_fakes import MendingSupervisor, after
from run_fakes import make_run_app, regressed, training
from sweep_fakes import SweepingSupervisor, by_rate
from triage_fakes import FakeTriage, make_store
from tui_fakes import NOW, FakeSupervisor, make_app, mixed_rows, pressed, settled, text_of, typed

from finetop.core.protocol.runs import Running
from finetop.tui.keys import Key
from finetop.tui.modes import EVERYWHERE
from finetop.tui.screens.approaches.screen import ApproachesScreen
from finetop.tui.screens.chat.prompts_page import PromptsPage
from finetop.tui.screens.chat.screen import ChatScreen
from finetop.tui.screens.chat.settings_page import SettingsPage
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.launch.lint import LintScreen
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.live.screen import LiveScreen
from finetop.tui.screens.pages import KeysPage
from finetop.tui.screens.queue.screen import QueueScreen
from finetop.tui.screens.remedies.screen import RemediesScreen
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.runs.screen import RunsScreen
from finetop.tui.screens.sweep.screen import SweepScreen
from finetop.tui.screens.themes import ThemesPage
from finetop.tui.screens.triage.item_screen import ItemScreen
from finetop.tui.screens.triage.items_screen import ItemsScreen
from finetop.tui.screens.triage.screen import TriageScreen
from finetop.tui.theme import Look
from finetop.tui.widgets.frame import Bottom

if TYPE_CHECKING:
    from finetop.tui.app import FinetopApp

SIZES = ((80, 24), (60, 20), (40, 10), (200, 60))
# Textual's names of keys whose footer shows another sign. For a pair, one of the two may be at its end.
NAMES = {
    "/": ("slash",), "←→": ("right", "left"), "↑↓": ("down", "up"), "←→↑↓": ("right",), "+ -": ("plus",),
    "esc": ("escape",), "pgdn": ("pagedown",), "[ ]": ("left_square_bracket",), "[": ("left_square_bracket",),
    "]": ("right_square_bracket",), "↓": ("down",), "+": ("plus",), "-": ("minus",), ", .": ("full_stop",),
    "⇧←→": ("shift+right", "shift+left"),
}  # fmt: skip


def make_talk() -> ChattingSupervisor:
    fake = ChattingSupervisor(Running(NOW - 10, "open"))
    fake.write(*conversation())
    return fake


def make_lists() -> FakeSupervisor:
    return FakeSupervisor(mixed_rows())


# name -> its supervisor in a folder, and the keys that lead there
WAYS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "runs": (lambda folder: make_lists(), []),
    "runs, none": (lambda folder: FakeSupervisor([]), []),
    "help": (lambda folder: make_lists(), ["question_mark"]),
    "palette": (lambda folder: make_lists(), ["colon"]),
    "launch": (lambda folder: make_lists(), ["4"]),
    "settings": (lambda folder: make_lists(), ["4", "enter"]),
    "queue": (lambda folder: QueueFake(), ["3"]),
    "remedies": (lambda folder: MendingSupervisor(after()), ["r"]),
    "sweep": (lambda folder: SweepingSupervisor(by_rate()), ["w"]),
    "approaches": (lambda folder: ComparingSupervisor(measured()), ["a"]),
    "chat": (lambda folder: make_talk(), ["C", "escape"]),
    "chat, settings": (lambda folder: make_talk(), ["C", "escape", "s"]),
    "chat, prompts": (lambda folder: make_talk(), ["C", "escape", "p"]),
    "live": (lambda folder: make_lists(), ["d"]),
    "triage": (lambda folder: FakeTriage(make_store(folder)), ["2"]),
    "triage, turned": (lambda folder: FakeTriage(make_store(folder)), ["2", "v"]),
    "items": (lambda folder: FakeTriage(make_store(folder)), ["2", "right", "right", "enter", "escape"]),
    "item": (lambda folder: FakeTriage(make_store(folder)), ["2", "right", "right", "enter"]),
}


def make_screen(name: str, folder: Path) -> tuple[FinetopApp, list[str]]:
    """Return an app and the keys that lead to one of its screens."""
    if name.startswith("run "):
        app = make_run_app(training() if name == "run metrics" else regressed())
        app._first_run = "support-r16"
        return app, ["tab"] * TABS.index(name.removeprefix("run "))
    if name == "compare":
        fake = three()
        app = make_app(fake, folder)
        app.call_later(app.open_compare, list(fake.details))
        return app, []
    make, keys = WAYS[name]
    return make_app(make(folder), folder), keys


TABS = ("metrics", "log", "samples", "recipe", "check", "steps")
SCREENS = (*WAYS, "compare", *(f"run {tab}" for tab in TABS))
SLOW = [pytest.mark.slow]
MOVES = ("j", "k", "G", "g", "ctrl+d", "ctrl+u", "pagedown", "pageup")


async def opened(pilot: Any, keys: list[str]) -> None:
    await settled(pilot)
    await typed(pilot, *keys)
    await settled(pilot, 0.1)


def seen(app: FinetopApp) -> str:
    """Return text and styles of the screen, because a cursor may be only a style."""
    rows = app.screen._compositor.render_strips()
    return str(type(app.screen)) + "\n".join(
        f"{segment.text}{segment.style}" for row in rows for segment in row
    )


@pytest.mark.parametrize("name", SCREENS)
async def test_every_screen_stands_every_size_and_takes_the_keys_that_move(tmp_path: Path, name: str) -> None:
    app, keys = make_screen(name, tmp_path)
    async with app.run_test(size=SIZES[0]) as pilot:
        await opened(pilot, keys)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await settled(pilot)
            rows = text_of(app).splitlines()
            assert len(rows) <= size[1]
            if size < (60, 20):
                assert f"too small: {size[0]}x{size[1]}" in text_of(app)
            else:
                assert "too small" not in text_of(app)
                # only text is cut: no row ends in half a number
                half = (row for row in rows[1:] if re.search(r"\d…$", row.rstrip()))
                cut = [row for row in half if len(row) >= size[0] - 1]
                assert not cut, (size, cut)
        if name == "palette":
            return  # there letters are text
        await pilot.resize_terminal(*SIZES[0])
        await settled(pilot)
        screen = app.screen
        assert not [key for key in MOVES if key not in screen.active_bindings]
        for key in MOVES:
            await pressed(pilot, key)
            assert app.screen is screen
        assert not [message.text for message in app.messages if "does nothing" in message.text]
        await pressed(pilot, "f1")
        assert isinstance(app.screen, KeysPage) or name == "help"


@pytest.mark.parametrize("name", drawn(SCREENS, 6, marks=SLOW))
async def test_every_key_of_the_footer_does_something(tmp_path: Path, name: str) -> None:
    app, keys = make_screen(name, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, keys)
        shown = [key.shown for key in app.screen.query_one(Bottom).keys if key.label]
    assert shown or name == "palette"  # the palette shows its keys beside the prompt
    for at, sign in enumerate(shown):
        (tmp_path / str(at)).mkdir()
        app, keys = make_screen(name, tmp_path / str(at))
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(pilot, keys)
            before, messages_before = seen(app), len(app.messages)
            for key in NAMES.get(sign, (sign,)):
                await pressed(pilot, key)
                if seen(app) != before or len(app.messages) > messages_before:
                    break
            else:
                pytest.fail(f"{sign} of {name} does nothing")


# what goes to another part of the screen
LEADS = ("tab", "open", "enter", "part", "log", "steps", "full", "sweep", "view")


def opposite_key(key: Key, keys: Sequence[Key]) -> str:
    """Return the key of the opposite direction, because a key does nothing at its own end."""
    name, _, number = key.action.partition("(")
    other = f"{name}({number[1:] if number.startswith('-') else '-' + number}"
    ways = (opposite.keys.partition(",")[0] for opposite in keys if number and opposite.action == other)
    return next(ways, "")


# an empty list offers nothing to act on; its text shows the next step
@pytest.mark.parametrize(
    "name", drawn([name for name in SCREENS if name not in ("palette", "runs, none")], 4, marks=SLOW)
)
async def test_every_key_of_the_help_does_or_says_something(tmp_path: Path, name: str) -> None:
    app, keys = make_screen(name, tmp_path)
    silent, at = [], 0
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, keys)
        listed = [key for key in (*app.screen.KEYS, *EVERYWHERE) if key.keys]
    while at < len(listed):
        folder = tmp_path / str(at)
        folder.mkdir()
        app, keys = make_screen(name, folder)
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(pilot, keys)
            screen = app.screen
            while at < len(listed):
                key, at = listed[at], at + 1
                if key.action in ("leave", "redraw"):
                    continue  # it ends the app; redrawing looks the same
                if other := opposite_key(key, listed):
                    await pressed(pilot, other)
                app.hush()  # any key clears the message
                before, messages_before = seen(app), len(app.messages)
                await pressed(pilot, key.keys.partition(",")[0], within_s=0.05)
                if seen(app) == before and len(app.messages) == messages_before:
                    silent.append(f"{key.shown} {key.about}")
                bottom = app.screen.query_one(Bottom)
                is_elsewhere = app.screen is not screen or key.action.partition("(")[0] in LEADS
                if is_elsewhere or bottom.question is not None or bottom.is_typed_above:
                    break
    assert not silent, "\n".join(silent)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCREENS)
async def test_every_screen_can_be_drawn_in_ascii_without_colour(tmp_path: Path, name: str) -> None:
    app, keys = make_screen(name, tmp_path)
    app.look = Look("none", ascii=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, keys)
        assert text_of(app).isascii(), [letter for letter in text_of(app) if not letter.isascii()]
        rows = app.screen._compositor.render_strips()
        styles = [segment.style for row in rows for segment in row if segment.style is not None]
        assert not [style for style in styles if style.color is not None and not style.color.is_default]


@pytest.mark.parametrize(
    "screen",
    [RunsScreen, RunScreen, CompareScreen, QueueScreen, LaunchScreen, RemediesScreen, SweepScreen, ApproachesScreen,
     ChatScreen, PromptsPage, SettingsPage,
     TriageScreen,
     ItemsScreen, ItemScreen, LiveScreen, LintScreen, ThemesPage, KeysPage],
)  # fmt: skip
def test_the_help_lists_every_key_that_is_bound(screen: Any) -> None:
    bound = {key for binding in screen.BINDINGS for key in binding.key.split(",")} - {""}
    listed = {name for key in screen.KEYS for name in key.keys.split(",")}
    assert bound <= listed
    assert all(key.about for key in screen.KEYS if key.keys)
