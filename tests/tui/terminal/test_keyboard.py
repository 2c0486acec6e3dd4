"""Keys arriving over a link: Esc and a letter in one packet are two keys, sequences stay one."""

from __future__ import annotations

import time

import pytest
from textual import constants

from finetop.tui.terminal.keyboard import Keyboard
from finetop.tui.widgets.entry import Entry, typed


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ESCAPE_DELAY", 0.002)


def keys(*pieces: str) -> list[tuple[str, str | None]]:
    """Return the keys that the app gets from these pieces of input and from silence after them."""
    keyboard, events = Keyboard(), []
    for piece in pieces:
        events += keyboard.feed(piece)
    time.sleep(0.003)  # longer than ESCAPE_DELAY: the silence itself is tested
    events += keyboard.tick()
    return [(event.key, event.character) for event in events]


@pytest.mark.parametrize(
    ("letter", "key"),
    [("j", "j"), ("J", "J"), ("1", "1"), ("=", "equals_sign"), ("/", "slash"), (" ", "space"), ("é", "é"),
     ("[", "left_square_bracket"), ("]", "right_square_bracket"), ("X", "X")],
)  # fmt: skip
def test_esc_and_a_key_that_come_together_are_two(letter: str, key: str) -> None:
    assert keys("\x1b" + letter) == [("escape", "\x1b"), (key, letter)]
    assert keys("\x1b", letter, "k") == [("escape", "\x1b"), (key, letter), ("k", "k")]


@pytest.mark.parametrize(
    ("behind", "key"),
    [("\x0c", "ctrl+l"), ("\x10", "ctrl+p"), ("[", "left_square_bracket"), ("]", "right_square_bracket")],
)
@pytest.mark.parametrize("before", ["", "^"])
def test_esc_and_a_key_before_an_answer_of_the_terminal_stay_two(behind: str, key: str, before: str) -> None:
    keyboard = Keyboard()
    keys_sent = [getattr(event, "key", "") for event in keyboard.feed(f"{before}\x1b{behind}\x1b[1;1R^")]
    assert keys_sent == [*(["circumflex_accent"] if before else []), "escape", key, "", "circumflex_accent"]


def test_esc_and_what_starts_sequences_are_two_after_a_silence() -> None:
    assert keys("\x1bO") == [("escape", "\x1b"), ("O", "O")]
    assert keys("\x1b[") == [("escape", "\x1b"), ("left_square_bracket", "[")]
    assert keys("\x1b]") == [("escape", "\x1b"), ("right_square_bracket", "]")]


@pytest.mark.parametrize(
    ("sequence", "key"),
    [("\x1b", "escape"), ("\x1b[A", "up"), ("\x1bOA", "up"), ("\x1b[6~", "pagedown"), ("\x1b[1;5C", "ctrl+right"),
     ("\x1bb", "ctrl+left"), ("\x1bf", "ctrl+right"), ("\x1b[Z", "shift+tab"), ("\x1b\t", "shift+tab"),
     ("\x1bOP", "f1"), ("\x1b[27u", "escape"), ("\x1b[106;3u", "alt+j")],
)  # fmt: skip
def test_a_key_that_is_a_sequence_stays_one(sequence: str, key: str) -> None:
    assert [name for name, _ in keys(sequence)] == [key]
    assert [name for name, _ in keys("\x1b", sequence)] == ["escape", key]


def test_words_are_passed_over_in_a_text() -> None:
    entry = Entry("one two  three", 14)
    stops = []
    for key in ["ctrl+left"] * 4 + ["ctrl+right"] * 4:
        entry = typed(entry, key, None) or entry
        stops.append(entry.at)
    assert stops == [9, 4, 0, 0, 4, 9, 14, 14]


@pytest.mark.parametrize(
    ("answer", "ground"),
    [
        ("\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\", "dark"),
        ("\x1b]11;rgb:fd/f6/e3\x07", "light"),
        ("\x1b]11;rgba:ffff/ffff/ffff/ffff\x07", "light"),
    ],
)
def test_the_terminals_background_is_no_key_however_it_comes(answer: str, ground: str) -> None:
    for cut in range(1, len(answer)):
        keyboard = Keyboard()
        keyboard.awaits_ground = True
        events = [*keyboard.feed("j" + answer[:cut]), *keyboard.feed(answer[cut:] + "k")]
        if cut == 1:  # a lone Esc may be a key, so it is not held back
            continue
        assert [getattr(event, "ground", getattr(event, "key", "")) for event in events] == ["j", ground, "k"]
        assert not keyboard.awaits_ground
