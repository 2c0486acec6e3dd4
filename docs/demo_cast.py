"""Makes docs/demo.cast, a recording of the app telling the story of its demo.

python docs/demo_cast.py queue HOME   # HOME is an empty folder: queues the demo's two runs
python docs/demo_cast.py watch HOME   # some minutes later: watches the first run for --minutes
python docs/demo_cast.py regress HOME # once both are checked: the rest; waits --minutes for a remedy

Each part replaces the recording from its chapter on. The runs, checks and remedies are real; only pauses are cut, and
waits shown in fast motion. For Linux, as root: the recorded shell gets its own host name.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte

COLUMNS, ROWS = 120, 40
IDLE_S = 1.5  # longest pause in the recording
FAST = 30.0  # speed-up while waiting
FRAME_S = 0.04  # output within this time is one event
CAST = Path(__file__).with_name("demo.cast")
HEADER = {
    "version": 2,
    "width": COLUMNS,
    "height": ROWS,
    "title": "finetop: the story of its demo",
}
PROMPT = "$ "
ENTER, ESCAPE, RIGHT, DOWN, TAB = "\r", "\x1b", "\x1b[C", "\x1b[B", "\t"


class Recording:
    """A shell in a pseudo-terminal: its screen, and its output with times."""

    def __init__(self, home: Path) -> None:
        self.events: list[tuple[float, str]] = [(0.0, "\x1bc")]
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._at, self._speed, self._seen = 0.0, 1.0, time.monotonic()
        pid, self._master = pty.fork()
        if pid == 0:
            os.chdir(home)
            shell = "hostname gpu-box && exec bash --norc --noprofile"
            os.execvpe("unshare", ["unshare", "--uts", "sh", "-c", shell], environment(home))
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    @property
    def now(self) -> float:
        """The time of the next event of the recording."""
        return self._at

    @property
    def is_at_prompt(self) -> bool:
        """True if the shell waits for a command."""
        line = self._screen.display[self._screen.cursor.y]
        return line.rstrip() == PROMPT.rstrip() and self._screen.cursor.x == len(PROMPT)

    def look(self, seconds: float) -> None:
        """Record output for a number of seconds."""
        end = time.monotonic() + seconds
        while select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0]:
            data = os.read(self._master, 65536)
            if b"\x1b[6n" in data:  # answer the cursor query as a terminal does
                os.write(self._master, b"\x1b[1;1R")
            self._stream.feed(data)
            self._pass()
            text = self._decoder.decode(data)
            if self._at - self.events[-1][0] < FRAME_S:
                self.events[-1] = (self.events[-1][0], self.events[-1][1] + text)
            else:
                self.events.append((self._at, text))

    def _pass(self) -> None:
        now = time.monotonic()
        self._at += (now - self._seen) / self._speed
        self._seen = now

    def fast(self, seconds: float, until: Callable[[], bool]) -> bool:
        """Record in fast motion until a condition holds; return False if it did not within `seconds`."""
        self._pass()
        self._speed = FAST
        end = time.monotonic() + seconds
        while not (came := until()) and time.monotonic() < end:
            self.look(0.1)
        self._pass()
        self._speed = 1.0
        return came

    def wait(self, text: str, seconds: float = 120.0) -> None:
        if not self.fast(seconds, lambda: text in self.text):
            sys.exit(f"{self.text}\nnever came: {text}")

    def press(self, *keys: str, read_s: float = 1.5) -> None:
        """Press keys and leave time to read after each."""
        for key in keys:
            os.write(self._master, key.encode())
            self.look(read_s)

    def type(self, text: str) -> None:
        self.press(*text, read_s=0.08)
        self.press(ENTER, read_s=0.5)


def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PS1": PROMPT, "USER": "ana",
        "LOGNAME": "ana", "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLORFGBG": "15;0", "LANG": "C.UTF-8",
    }  # fmt: skip


def queue(recording: Recording, _: float) -> None:
    recording.type("finetop demo")
    recording.wait("demo-full-hot")
    recording.press("3", read_s=4)
    recording.press("1", read_s=2)
    recording.press("q")


def watch(recording: Recording, seconds: float) -> None:
    recording.type("finetop")
    recording.wait("demo-full-hot")
    recording.look(2)
    recording.press(ENTER)
    recording.wait("metrics")
    recording.fast(seconds, lambda: "finished" in recording.text)
    recording.press(ENTER, read_s=3)  # one chart fills the tab
    recording.press(ESCAPE, "q")


def regress(recording: Recording, seconds: float) -> None:
    recording.type("finetop")
    recording.wait("demo-lora")
    recording.look(2.5)
    recording.press(ENTER)
    recording.wait("points lost")
    recording.look(2.5)
    recording.press(*TAB * 4, read_s=0.5)
    recording.wait("McNemar")
    recording.look(4)
    recording.press("2")
    recording.wait("worst first")
    recording.look(3)
    recording.press(RIGHT, read_s=2.5)
    recording.press(ENTER)
    recording.wait("── question")
    recording.look(4)
    recording.press(ESCAPE)
    recording.wait("kinds of items")
    recording.look(2)
    recording.press(ESCAPE)
    recording.wait("worst first")
    recording.press("r")
    recording.wait("half-way to the base")
    recording.look(3)
    recording.press(DOWN, DOWN, read_s=1)
    recording.press("R", read_s=2.5)
    recording.press("y", read_s=2)
    recording.fast(seconds, lambda: "1 of 8 tried" in recording.text)
    recording.look(3)
    recording.press("q")


PARTS = {"queue": queue, "watch": watch, "regress": regress}


def before(part: str) -> list[list[Any]]:
    """Return the events to keep: everything before the chapter that is recorded again."""
    events = [] if part == "queue" else [json.loads(line) for line in CAST.read_text().splitlines()[1:]]
    again = (place for place, event in enumerate(events) if event[1:] == ["m", part])
    return events[: next(again, None)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("home", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parser.parse_args()
    events = before(args.part)
    recording = Recording(args.home)
    recording.wait(PROMPT)
    PARTS[args.part](recording, args.minutes * 60)
    start = events[-1][0] + IDLE_S if events else 0.0
    events.append([start, "m", args.part])
    write(CAST, HEADER, events + without_pauses([(at, "o", text) for at, text in recording.events], start))


def without_pauses(events: Sequence[tuple[float, str, str]], start: float = 0.0) -> list[list[Any]]:
    """Return events shifted to `start`, with every pause cut to IDLE_S."""
    kept: list[list[Any]] = []
    sooner = 0.0
    for at, kind, text in events:
        start += min(at - sooner, IDLE_S)
        sooner = at
        kept.append([round(start, 3), kind, text])
    return kept


def write(file: Path, header: dict[str, Any], events: Sequence[list[Any]]) -> None:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *events)))


if __name__ == "__main__":
    main()
