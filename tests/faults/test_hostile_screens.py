"""Fault 20 in the app: each screen over a home whose every text contains a string that would control the terminal."""

from __future__ import annotations

import base64
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fake_nvml import Cards
from hostile import OBEYED, PAYLOADS, SEQUENCES, fill
from rig import Rig
from terminal import UNFINISHED, Terminal

from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXTS = list(PAYLOADS.values())
# What the app's own driver writes besides text: cursor (BS is one to the left), style, modes, queries, repetition.
OWN = re.compile(
    r"\x1b\[\d*(?:;\d+)?H|\x1b\[\d*[A-DGKXbd]|\x08|\x1b\[[\d;:]*m|\x1b\[\?[\d;]+(?:[hl]|\$p)|\x1b\[[<>=?]?\d*u|\x1b\[6n"
    r"|\x1b\[(?:\d+;\d+)?r|\x1bM|\x1b\]22;\w*\x07"  # scrolling, the pointer's shape
)
COPIED = re.compile(r"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07")
TABS = 7
RUN = ["\r", *["\t", "j", "v"] * TABS, "/", "a", "\r", "\x1b", "\x1b"]
REMEDIES = ["r", "j", "\r", "\x1b", "\x1b"]
COMPARE = [" ", "j", " ", "c", "\t", "j", "\t", "v", "\x1b", "\x1b"]
NOTE = ["t", "\x1b", "S", "\x1b", "X", "\x1b", "e", "\x1b", "y", "w", "\x1b"]
ITEMS = ["\x1b[C", "\r", "j", "\r", "y", "\x1b[B", "\x1b", "\x1b", "v", "j", "v"]
ELSEWHERE = ["3", "j", "\x1b[6~", "]", "[", "4", "j", "\r", "\t", "\x1b", "\x1b", "1", "?", "\x1b[6~", "\x1b", ":",
             *"messages", "\r", "\x1b[6~", "\x1b"]  # fmt: skip


class Watched:
    """The app in a terminal; all its output is checked after each key."""

    def __init__(self, app: Terminal, supervisor: int) -> None:
        self.app, self.supervisor, self.looks, self.seen = app, supervisor, 0, ""

    def press(self, keys: list[str]) -> None:
        for key in keys:
            self.app.keys(key)
            self.app.rest(self.supervisor)
            self.looks += 1
        self.look(keys)

    def paste(self, text: str) -> None:
        """Paste into a filter; what a terminal removes from a paste is not in it."""
        inside = re.sub("[\x00-\x08\x0b-\x1f\x7f]", "", text)[:500]
        self.press(["/", f"\x1b[200~{inside}\x1b[201~", "\x1b"])

    def look(self, keys: list[str]) -> None:
        self.app.rest(self.supervisor)
        whole = UNFINISHED.search(self.app.sent).start()  # a sequence may be cut between two reads
        sent = self.app.sent[:whole].decode("utf-8", "replace")
        del self.app.sent[:whole]
        for copied in COPIED.findall(sent):  # y: on the user's key
            text = base64.b64decode(copied).decode()
            assert not OBEYED.search(text) and copied not in PAYLOADS["clipboard"], (keys, text)
        sent = COPIED.sub("", sent)
        obeyed = [one for one in SEQUENCES if one in sent]
        assert not obeyed, (keys, obeyed)
        left = OWN.sub("", sent)
        match = OBEYED.search(left.replace("\r", ""))
        assert match is None, (keys, left[max(0, match.start() - 60) : match.end() + 60])
        top = "".join(self.app.screen.buffer[0][x].data for x in range(120))
        assert top.startswith((" finetop", "finetop")), (keys, top)
        assert not self.app.bells and not self.app.notifications, keys
        self.seen += left


@pytest.fixture
def app_over(tmp_path: Path) -> Iterator[Callable[[int], Watched]]:
    """Start the supervisor and the app over so many hostile runs, on hostile GPUs, beside hostile recipes."""
    rig = Rig(Home(tmp_path / "home"))
    opened = []

    def start(count: int) -> Watched:
        fill(rig.home.root, TEXTS, count)
        cards = Cards(tmp_path / "nvml.json", 2, total=80, used=1)
        for at, text in enumerate((PAYLOADS["title"], PAYLOADS["clear"])):
            cards.change(at, name=text, processes=[[1, 1.0]])
        beside = tmp_path / "beside"
        beside.mkdir()
        for number, name in enumerate(("red", "title", "bidi override", "C1 CSI")):
            text = PAYLOADS[name]
            (beside / f"{number}{text}.yaml").write_text(
                f"# {text}\nrecipe: 1\nname: {text}\nextends: {text}\n"
            )
        rig.up(
            FINETOP_TEST_NVML=str(cards.file), FINETOP_TEST_HOST=PAYLOADS["red"] + "host" + PAYLOADS["title"]
        )
        command = ["env", "-C", str(beside), sys.executable, "-m", "finetop.tui.main"]
        opened.append(Terminal(command, rig.home.root, 120, 40))
        opened[-1].wait_text("finetop")
        opened[-1].wait_text(" total")
        supervisor = rig.processes[-1].pid
        opened[-1].rest(supervisor)
        del opened[-1].sent[:]
        return Watched(opened[-1], supervisor)

    yield start
    for terminal in opened:
        terminal.close()
    rig.stop_all()


def test_the_strings_are_many_and_of_all_kinds() -> None:
    assert len(PAYLOADS) >= 100
    assert len(set(TEXTS)) == len(TEXTS)
    assert len(SEQUENCES) > 80


def test_no_screen_lets_a_string_through(app_over: Callable[[int], Watched], survived: Any) -> None:
    """Every screen once, over runs whose texts are as many strings as fit."""
    watched = app_over(2)
    watched.press(RUN)
    watched.press(REMEDIES)
    watched.press(["2", *ITEMS[:7]])
    watched.press(ELSEWHERE)
    watched.press([*COMPARE, *NOTE])
    watched.paste("".join(TEXTS[40:60]))
    assert len(watched.seen) > 5000
    survived("20", "strings on every screen of the app", repeats=watched.looks, written=len(PAYLOADS))


def test_no_screen_lets_any_string_through(app_over: Callable[[int], Watched], survived: Any) -> None:
    """Every screen on enough runs that each string, of every kind, is in one of four adjacent places."""
    count = len(TEXTS) // 4
    watched = app_over(count)
    for _ in range(count):
        watched.press(RUN)
        watched.press(REMEDIES)
        watched.press(["j"])
    watched.press(["\x1b[6~"] * 4 + ["g"])
    for _ in range(count // 2):
        watched.press([*COMPARE, "j"])
    watched.press([*NOTE, "2"])
    for _ in range(count):
        watched.press([*ITEMS, "j"])
    watched.press(ELSEWHERE)
    for text in TEXTS:
        watched.paste(text)
    survived("20", "every string on every screen of the app", repeats=watched.looks, written=len(PAYLOADS))
