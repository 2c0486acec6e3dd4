"""The differencing driver shows the same screen as plain frames, and never queues frames."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyte
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from rich.cells import cell_len, set_cell_size
from terminal import Terminal
from waiting import LIMIT_S, wait_until

from finetop.core.runtime.processes import STOPPED, stat_field
from finetop.tui.terminal.cells import Cells, apply_frame, blank_cells, resized
from finetop.tui.terminal.driver import TerminalWriter
from finetop.tui.terminal.screen_diff import Pen, difference
from finetop.tui.terminal.sgr import blank_style, change, restyle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Sequences that pyte prints in part or can't parse: private keyboard modes, mode queries, strings.
_UNKNOWN_TO_PYTE = re.compile(
    r"\x1b\[[<=>][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[6n"
)


class Emulator(pyte.Screen):  # type: ignore[misc]
    """pyte's screen; like real terminals it blanks the remaining half of a wide character that was cut in two."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__(columns, lines)
        self.stream = pyte.Stream(self)
        self.reset_mode(7, private=True)

    def draw(self, data: str) -> None:
        if all(cell_len(character) == 1 for character in data) and not self._has_wide():
            super().draw(data)
            return
        for character in data:
            before = {x: self.buffer[self.cursor.y][x] for x in range(self.columns)}
            y = self.cursor.y
            super().draw(character)
            line = self.buffer[y]
            for x in range(self.columns - 1):
                was_wide = before[x].data != "" and before[x + 1].data == ""
                if was_wide and line[x + 1].data != "" and line[x] == before[x]:
                    line[x] = line[x]._replace(data=" ")
                is_cut = was_wide and line[x + 1].data == "" and line[x] != before[x]
                if is_cut and cell_len(line[x].data) < 2:
                    line[x + 1] = line[x + 1]._replace(data=" ")

    def _has_wide(self) -> bool:
        return any(cell.data == "" for cell in self.buffer[self.cursor.y].values())

    def feed(self, text: str) -> None:
        # A terminal's line discipline turns a line feed into a carriage return and a line feed.
        self.stream.feed(_UNKNOWN_TO_PYTE.sub("", text).replace("\n", "\r\n"))

    def seen(self) -> list[list[tuple[object, ...]]]:
        """Return what is visible of each cell: of a blank the background, not the colour."""
        return [[_seen(self.buffer[y][x]) for x in range(self.columns)] for y in range(self.lines)]


def _screen(*texts: str, size: tuple[int, int] = (120, 40)) -> list[list[tuple[object, ...]]]:
    """Return what a terminal shows after some texts."""
    emulator = Emulator(*size)
    for text in texts:
        emulator.feed(text)
    return emulator.seen()


def _seen(cell: pyte.screens.Char) -> tuple[object, ...]:
    marked = cell.reverse or cell.underscore or cell.strikethrough
    return (" ", cell.bg) if cell.data == " " and not marked else tuple(cell)


@dataclass
class Ours:
    """The state that the driver keeps, without its terminal."""

    size: tuple[int, int]
    wanted: Cells = field(init=False)
    shown: Cells | None = None
    pen: Pen = field(default_factory=Pen)

    def __post_init__(self) -> None:
        self.wanted = blank_cells(*self.size)

    def send(self, frame: str, colour: bool = True) -> str:
        self.wanted = apply_frame(self.wanted, frame, colour)
        text, self.pen = difference(self.shown, self.wanted, self.pen)
        self.shown = self.wanted
        return text


def _at(x: int, y: int, text: str) -> str:
    return f"\x1b[{y + 1};{x + 1}H{text}"


def _styled(style: str, text: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style else text


_texts = st.text(alphabet="ab0 ─⣿é漢字👍", max_size=8).map(lambda text: text.replace("0", "e\u0301"))
_styles = st.sampled_from(
    ["", "1", "3;31", "7", "4;9;32", "31", "38;2;1;2;3", "48;5;9", "7;38;5;4;48;2;9;9;9", "44"]
)
_lines = st.lists(st.tuples(_styles, _texts), min_size=0, max_size=4)


def _line(segments: list[tuple[str, str]], width: int) -> str:
    """Return a row of exactly this width, like Textual's strips."""
    left, pieces = width, []
    for style, text in segments:
        text = set_cell_size(text, min(left, cell_len(text)))
        left -= cell_len(text)
        pieces.append(_styled(style, text))
    return "".join(pieces) + " " * left


@st.composite
def _stories(draw: st.DrawFn) -> list[tuple[str, object]]:
    """Generate sequences of frames: ("size", (columns, rows)), ("forget", None) and ("frame", text)."""
    story: list[tuple[str, object]] = []
    width, height = 20, 6
    rows = [" " * width] * height
    for act in draw(st.lists(st.sampled_from("ppppsssrfx"), min_size=1, max_size=8)):
        if act == "r":
            width, height = draw(st.integers(6, 24)), draw(st.integers(2, 8))
            rows = [_line(draw(_lines), width) for _ in range(height)]
            story.append(("size", (width, height)))
        elif act == "f":
            story.append(("forget", None))
        elif act == "x":
            x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
            story.append(
                ("frame", _at(x, y, _line(draw(_lines), draw(st.integers(0, width - x)))) + _at(0, 0, ""))
            )
            continue
        elif act == "s":
            first, last = sorted(draw(st.tuples(st.integers(0, height - 1), st.integers(0, height - 1))))
            by = draw(st.integers(-(last - first), last - first))
            band = rows[first : last + 1]
            band = band[by:] + band[:by]
            for index in draw(st.sets(st.integers(0, len(band) - 1), max_size=2)):
                band[index] = _line(draw(_lines), width)
            rows[first : last + 1] = band
        else:
            for y in draw(st.sets(st.integers(0, height - 1), min_size=1)):
                rows[y] = _line(draw(_lines), width)
        cursor = draw(st.sampled_from([(0, 0), (width - 1, height - 1), (2, 1)]))
        story.append(("frame", "\n".join(_at(0, y, row) for y, row in enumerate(rows)) + _at(*cursor, "")))
    return story


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_stories())
def test_leaves_the_screen_that_plain_frames_leave(story: list[tuple[str, object]]) -> None:
    ours, plain, differenced = Ours((20, 6)), Emulator(20, 6), Emulator(20, 6)
    for act, value in story:
        if isinstance(value, tuple):
            plain.resize(value[1], value[0])
            differenced.resize(value[1], value[0])
            ours.wanted = resized(ours.wanted, *value)
        elif act == "forget":
            differenced.feed("\x1b[3;1Hnoise\x1b[41m")
            ours.shown, ours.pen = None, Pen()
        else:
            plain.feed(str(value))
            differenced.feed(ours.send(str(value)))
            assert differenced.seen() == plain.seen()


def test_moves_absolutely_after_the_last_column() -> None:
    ours, differenced = Ours((20, 1)), Emulator(20, 1)
    for row in (" " * 20, " " * 15 + "e\u0301" * 4 + "a", " " * 16 + "e\u0301" * 3 + "a"):
        differenced.feed(ours.send(_at(0, 0, row)))
        assert differenced.seen() == _screen(_at(0, 0, row), size=(20, 1))


_whole_styles = st.lists(
    st.sampled_from(
        ["0", "1", "2", "3", "4", "7", "21", "22", "24", "31", "38;2;7;8;9", "39", "48;5;3", "97", "103"]
    ),
    max_size=5,
).map(lambda codes: restyle("", ";".join(codes)) if codes else "")


@given(_whole_styles, _whole_styles)
def test_change_of_style_arrives(old: str, new: str) -> None:
    state = old
    for parameters in re.findall(r"\x1b\[([\d;]*)m", change(old, new)):
        state = restyle(state, parameters)
    assert state == new
    assert len(change(old, new)) <= len(f"\x1b[;{new}m")


def test_styles_have_one_spelling() -> None:
    spellings = {
        "1;0;31": "31", "31;39;2": "2", "4:3": "4:3", "4:3;24": "", "38:2::1:2:3": "38:2::1:2:3",
        "58;5;1;32": "32", "44;7": "7;44",
    }  # fmt: skip
    assert {parameters: restyle("", parameters) for parameters in spellings} == spellings


def test_a_blank_shows_its_background_and_lines_and_no_color_keeps_bold_dim_and_reverse() -> None:
    assert blank_style("1;31") == ""
    assert blank_style("31;44") == "44"
    assert blank_style("4;31") == "4;31"
    text = Ours((20, 2)).send(_at(0, 0, _styled("1;2;7;38;2;1;2;3;48;5;4", "ab")), colour=False)
    assert "\x1b[1;2;7mab" in text
    assert "38;" not in text
    # a flood of accents
    text = Ours((20, 2)).send(_at(0, 0, "e" + "\u0301" * 900 + "b" + "\u0301") + _at(1, 0, "\u0301" * 900))
    assert 10 < text.count("\u0301") <= 32


def _log(first: int, height: int = 40, width: int = 120) -> str:
    rows = [f"{'loss curve':<{width}}" for _ in range(height - 10)]
    rows += [f"step {n} loss {1 / (n + 1):.6f} lr 2.0e-4".ljust(width) for n in range(first, first + 10)]
    lines = [_at(0, y, _styled("38;2;200;200;200", row)) for y, row in enumerate(rows)]
    return "\n".join(lines) + _at(0, 0, "")


def test_what_changed_alone_is_sent() -> None:
    ours = Ours((120, 40))
    assert "step 109" in ours.send(_log(100))
    assert ours.send(_log(100)) == ""
    # a changed number
    ours = Ours((120, 40))
    ours.send(_log(100))
    text = ours.send(_at(0, 3, _styled("38;2;200;200;200", f"{'loss curve 7':<120}") + _at(0, 0, "")))
    assert text.endswith("7")
    assert len(text) <= 9
    # blanks are erased to the end of the line
    ours = Ours((120, 40))
    ours.send(_at(0, 0, "x" * 120))
    assert len(ours.send(_at(0, 0, "x" * 20 + " " * 100) + _at(0, 0, ""))) <= 10


def _like_log(first: int) -> str:
    """Generate ten lines, each a few cells different from the next one."""
    lines = (
        f"step {n}/1200: loss 0.0016, grad_norm 0.{n % 7}{n % 9}".ljust(120) for n in range(first, first + 10)
    )
    return "\n".join(_at(0, 20 + y, line) for y, line in enumerate(lines)) + _at(0, 0, "")


def test_like_lines_scroll_and_one_that_comes_back_in_another_look_scrolls_nothing() -> None:
    ours = Ours((120, 40))
    first, text = ours.send(_like_log(600)), ours.send(_like_log(601))
    assert _screen(first, text) == _screen(_like_log(601))
    assert len(text.encode()) < 80  # 170 if each line were patched in place
    # Bytes saved on other lines must not pay for a scroll of lines that do not match.
    line, other = "alpha beta gamma delta one", "alpha beta gamma delta two"
    before = _at(0, 0, f"{line:<80}") + _at(0, 2, "y" * 80) + _at(0, 3, f"{other:<80}") + _at(0, 5, "x" * 80)
    after = _at(0, 0, f"{line[:-1]:<80}") + _at(0, 3, _styled("1;31", f"{line:<80}")) + _at(0, 5, " " * 80)
    frames = [frame + _at(0, 0, "") for frame in (before, after)]
    ours = Ours((80, 6))
    assert _screen(*map(ours.send, frames), size=(80, 6)) == _screen(*frames, size=(80, 6))


@pytest.mark.parametrize("by", [1, 3, -1])
def test_a_scrolled_log_sends_its_new_lines(by: int) -> None:
    ours = Ours((120, 40))
    first, text = ours.send(_log(100)), ours.send(_log(100 + by))
    assert len(text.encode()) < 60 + 50 * abs(by)
    assert _screen(first, text) == _screen(_log(100 + by))


@pytest.mark.parametrize("joined", ["👩\u200d🔬", "☠\ufe0f", "🇩🇪", "👋🏽", "é\u0301", "क्षि"])
def test_joined_characters_leave_no_doubt_where_the_next_cell_is(joined: str) -> None:
    text = Ours((20, 2)).send(_at(0, 0, f"{joined}ab"))
    assert re.search(f"{joined[-1]}\x1b\\[(?:1;)?[23][GH]ab", text)


def test_links_and_controls_in_text_do_not_reach_the_terminal() -> None:
    link = "\x1b]8;id=1;http://a.b/c\x1b\\\x1b[1mhere\x1b[0m\x1b]8;;\x1b\\"
    text = Ours((40, 2)).send(_at(0, 0, f"go {link} \x1b]52;c;AAAA\x07\x1b[2Jx\ry"))
    assert "http" not in text
    emulator = Emulator(40, 2)
    emulator.feed(text)
    assert emulator.display[0].rstrip() == "go here ]52;c;AAAA[2Jxy"
    assert set(re.findall(r"\x1b(?!\[)|[\x07\r]", text)) == set()


_END = "\x1b]2;that is all\x07"


class _Pipe:
    """A writer on a pipe whose reader reads only on request."""

    def __init__(self) -> None:
        self.reader, self.end = os.pipe()
        self.newest: Cells | None = None
        self.bugs: list[object] = []
        self.stuck = False
        callbacks = (lambda: self.newest, self.bugs.append, lambda: self.stuck)
        self.writer = TerminalWriter(self.end, "utf-8", *callbacks)
        self.writer.start()

    def show(self, frame: str, size: tuple[int, int] = (120, 40)) -> None:
        self.newest = apply_frame(self.newest or blank_cells(*size), frame)
        self.writer.picture()

    def read(self) -> str:
        """Read everything written so far; a title written after it marks its end."""
        self.writer.control(_END)
        sent = b""
        while not sent.endswith(_END.encode()):
            sent += os.read(self.reader, 65536)
        return sent.decode().removesuffix(_END)


@pytest.fixture
def pipe() -> Iterator[_Pipe]:
    pipe = _Pipe()
    yield pipe
    pipe.writer.stop()
    pipe.writer.join(LIMIT_S)
    os.close(pipe.reader)
    os.close(pipe.end)
    assert not pipe.bugs


def _noise(seed: int, width: int = 120, height: int = 40) -> str:
    letters = random.Random(seed)
    rows = (_at(0, y, "".join(letters.choices("abcdefgh", k=width))) for y in range(height))
    return "\n".join(rows) + _at(0, 0, "")


def test_controls_keep_their_order_and_none_is_lost_on_a_slow_terminal(pipe: _Pipe) -> None:
    controls = [f"\x1b]2;title {number}\x07" for number in range(500)]
    for number, control in enumerate(controls):
        pipe.writer.control(control)
        pipe.show(_noise(number))
    sent = pipe.read()
    assert re.findall(r"\x1b\]2;title \d+\x07", sent) == controls
    assert _screen(sent) == _screen(_noise(499))
    assert len(sent) < 50 * 4800  # of 500 frames of 4,800 bytes


def test_pictures_wait_for_a_terminal_that_answers_late(pipe: _Pipe) -> None:
    pipe.show(_noise(0))
    sent = pipe.read()
    assert sent.count("\x1b[6n") == 1
    pipe.writer.answered()
    for seed in range(1, 20):
        pipe.show(_noise(seed))
        sent += pipe.read()
    assert len(sent) < 5 * 4800  # of 20 frames of 4,800 bytes
    pipe.writer.answered()
    sent += pipe.read()
    assert _screen(sent) == _screen(_noise(19))


def test_while_the_way_to_the_terminal_is_stuck_no_picture_goes_out(
    pipe: _Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetop.tui.terminal.driver._HELD_S", 0.05)
    pipe.show(_at(0, 0, "one"))
    assert "one" in pipe.read()
    pipe.stuck = True
    pipe.show(_at(0, 0, "two"))
    assert pipe.read() == ""
    pipe.stuck = False
    wait_until(lambda: "two" in os.read(pipe.reader, 65536).decode())  # without any other event


def test_a_control_that_draws_makes_the_next_picture_whole(pipe: _Pipe) -> None:
    pipe.show(_log(1))
    pipe.read()
    pipe.writer.control("\x07\x1b]52;c;QQ==\x07\x1b[?1004h")
    pipe.show(_log(1))
    assert pipe.read() == "\x07\x1b]52;c;QQ==\x07\x1b[?1004h"
    pipe.writer.control("\x1b[2J")
    pipe.show(_log(1))
    assert "step 10" in pipe.read()


_APP = """
import os, sys
from textual.app import App
from textual.widgets import Input, Log, Static
from finetop.tui.terminal.driver import DifferenceDriver

TICKS, BODY = int(os.environ["TICKS"]), int(os.environ.get("BODY", "40"))

class Demo(App):
    CSS = "Log {height: 8; border: round red} Static {background: ansi_blue}"
    def compose(self):
        yield Static("caption \\u6f22\\u5b57 \\u28ff", id="head")
        yield Log(id="log")
        yield Input(placeholder="type")
        yield Static(id="body")
    def on_mount(self):
        self.count = 0
        self.timer = self.set_interval(0.02, self.tick)
    def tick(self):
        if self.count < TICKS:
            self.count += 1
            wide = "".join(chr(97 + (i * i * self.count) % 26) for i in range(BODY))
            self.query_one("#body").update(wide)
            self.query_one("#log").write_line(f"line {self.count}")
            self.query_one("#head").update(f"tick {self.count} \\u6f22\\u5b57")
        else:
            self.timer.stop()
            self.query_one("#head").update("THE END")
            open(sys.argv[2] + "/drawn", "w").close()
    def on_key(self, event):
        open(sys.argv[2] + "/keys", "a").write(event.key + " ")
        if event.key == "f5": self._driver.forget()
        if event.key == "f6": self.exit()

app = Demo(driver_class=DifferenceDriver if sys.argv[1] == "ours" else None)
app.run()
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    """Starts the demo app in terminals, which end with the test."""
    for name in ("NO_COLOR", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    terminals: list[Terminal] = []

    def start(driver: str = "ours", size: tuple[int, int] = (80, 24), **environment: str) -> Terminal:
        command = [sys.executable, "-c", _APP, driver, str(tmp_path)]
        variables = {"TICKS": "12", **environment}
        terminals.append(Terminal(command, tmp_path, *size, screen=Emulator(*size), **variables))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def wait_for(terminal: Terminal, text: str) -> None:
    """Read until a text has been written since `sent` was cleared."""
    wait_until(
        lambda: terminal.pump(0.02) or text.encode() in terminal.sent,
        lambda: f"{text!r} in {terminal.sent[-2000:]!r}",
    )


def wait_for_end(terminal: Terminal) -> list[list[tuple[object, ...]]]:
    """Return the screen once the app has drawn all it draws."""
    wait_for(terminal, "END")
    terminal.rest()
    return terminal.screen.seen()


def end(terminal: Terminal) -> None:
    terminal.keys("\x1b[17~")
    assert terminal.wait_end() == 0


@pytest.mark.slow
def test_an_app_leaves_the_same_screen_with_the_stock_driver(start: Callable[..., Terminal]) -> None:
    screens, sizes = [], []
    for name in ("stock", "ours"):
        terminal = start(name)
        screens.append(wait_for_end(terminal))
        sizes.append(terminal.bytes)
        end(terminal)
        assert re.fullmatch(rb"(?:\x1b\[\?\d+[hl])*", terminal.sent.rpartition(b"\x1b[?1049l")[2])
    assert "THE END" in "".join(str(cell[0]) for cell in screens[1][0])
    assert screens[0] == screens[1]
    assert sizes[1] < sizes[0] / 2


def test_a_picture_survives_resizing_forgetting_and_suspending(start: Callable[..., Terminal]) -> None:
    terminal = start()
    wait_for_end(terminal)
    terminal.sent.clear()
    terminal.resize(60, 20)
    before = wait_for_end(terminal)
    noise = b"\x1b[m\x1b[5;5Hnoise"
    terminal.show(noise)
    terminal.sent.clear()
    terminal.keys("\x1b[15~")
    assert wait_for_end(terminal) == before
    os.kill(terminal.pid, signal.SIGTSTP)
    wait_for(terminal, "\x1b[?1049l")
    wait_until(lambda: stat_field(terminal.pid, 0) == STOPPED, "it stops once the screen is left")
    terminal.show(noise)
    terminal.sent.clear()
    os.kill(terminal.pid, signal.SIGCONT)
    assert wait_for_end(terminal) == before
    end(terminal)


def test_what_a_link_brings_together_arrives_key_by_key_and_no_color_leaves(
    start: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = start(TICKS="1", NO_COLOR="1")
    wait_for_end(terminal)
    noise = b"\xff\x9b"
    for piece in (b"\x1bx\x1b[C\x1b", b"2", "é".encode()[:1], "é".encode()[1:], noise):
        os.write(terminal.master, piece)
        time.sleep(0.02)  # each piece must be a read of its own
    end(terminal)
    arrived = (tmp_path / "keys").read_text().split()
    assert arrived == ["escape", "x", "right", "escape", "2", "é", *["replacement_character"] * 2, "f6"]
    styles = re.findall(rb"\x1b\[([\d;]*)m", terminal.sent)
    assert styles and set(b";".join(styles).split(b";")) <= {b"", *b"0 1 2 3 4 7 22 23 24 27".split()}


def test_a_terminal_that_sleeps_skips_pictures_and_blocks_nobody(
    start: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = start(size=(200, 50), TICKS="60", BODY="8000")
    wait_for(terminal, "tick")
    wait_until((tmp_path / "drawn").exists, "all is drawn, though nobody reads")
    wait_for_end(terminal)
    assert "THE END" in terminal.screen.display[0]
    end(terminal)
    assert terminal.bytes < 30 * 8000  # of 60 frames of 8,000 bytes
