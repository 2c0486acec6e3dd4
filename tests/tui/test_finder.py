"""The palette: a command of that name comes before everything that only contains it."""

from __future__ import annotations

from typing import Any

from tui_fakes import FakeSupervisor, make_app, mixed_rows, pressed, row_with, shown_app, text_of

from finetop.tui.finder import Match, command_names, kind_of, ranked
from finetop.tui.modes import EVERYWHERE, MESSAGES, THEME
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.runs.keys import COMMANDS, KEYS

ALL = (*KEYS, *COMMANDS, *EVERYWHERE, MESSAGES, THEME)


def found(name: str, kind: str) -> Match:
    return Match(name, kind, "", lambda: None)


def first(text: str, *things: Match) -> str:
    best = ranked(text, ALL, things)[0]
    return best.name if isinstance(best, Match) else command_names(best)[0]


def test_the_command_of_that_name_is_first() -> None:
    noise = [found("stop the queue?", "item"), found("queue-run", "run"), found("runs-fast", "recipe")]
    other_names = {"q": "quit", "exit": "quit", "forgetting": "check"}
    names = dict.fromkeys(("runs", "quit", "queue", "stop", "sort by", "theme"), "")
    for text, name in (names | other_names).items():
        assert first(text, *noise) == (name or text)


def test_exact_before_beginning_before_words_and_commands_before_items_of_a_rank() -> None:
    things = [found("stop", "item"), found("qlora", "recipe"), found("qlora-stop", "run")]
    assert first("qlora", *things) == "qlora"
    assert [kind_of(entry) for entry in ranked("stop", ALL, things)][:2] == ["command", "run"]
    assert kind_of(ranked("stop", ALL, [found("stop", "run")])[0]) == "command", "of the same rank"
    assert first("aproaches") == "approaches"
    assert ranked("zzz", ALL) == []


async def test_each_row_says_what_it_is_and_which_key_does_it(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("FINETOP_THEME", "NO_COLOR", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("finetop.tui.kept.file_of", lambda home: tmp_path / "app.json")
    async with shown_app(make_app(FakeSupervisor(mixed_rows()))) as (app, pilot):
        await pressed(pilot, "colon", *"light", within_s=0.3)
        assert row_with(app, "▸").split()[1:3] == ["theme", "light"], text_of(app)
        await pressed(pilot, "enter")
        assert app.look.colours == "light"
        await pressed(pilot, "colon", *"runs", within_s=0.3)
        assert row_with(app, "▸").split()[1:3] == ["screen", "runs"]
        assert row_with(app, "▸").rstrip("│ ").endswith(" 1")
        await pressed(pilot, "ctrl+u", *"stop", within_s=0.3)
        assert row_with(app, "▸").split()[1:3] == ["command", "stop"]
        assert row_with(app, "▸").rstrip("│ ").endswith(" S")
        await pressed(pilot, "ctrl+u", *"launch", "enter")
        assert isinstance(app.screen, LaunchScreen)
        await pressed(pilot, "colon", "q", "enter")  # as in vim
        assert app._exit
    assert '"light"' in (tmp_path / "app.json").read_text()
