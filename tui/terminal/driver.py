"""The terminal driver: sends what changed on the screen, skipping pictures that the terminal is too slow for."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import termios
import time
import tty
from codecs import getincrementaldecoder
from collections.abc import Callable
from queue import Empty, SimpleQueue
from select import select
from threading import Thread
from typing import Any, Final, Literal

from rich.traceback import Traceback
from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from finetop.tui.terminal.cells import Cells, apply_frame, blank_cells, resized
from finetop.tui.terminal.keyboard import Keyboard
from finetop.tui.terminal.link_state import way_of
from finetop.tui.terminal.screen_diff import Pen, difference

_FRAME = re.compile(r"\x1b\[\d+;\d+H")
# Around every frame, so that no half of it is seen. A difference is too small to need that.
_SYNCHRONIZED: Final = ("\x1b[?2026h", "\x1b[?2026l")
# Controls that leave cells, cursor and style unchanged: modes but the alternate screen, queries, keyboard protocols,
# titles, clipboard and the like, and the bell. Any other makes us forget the screen.
_HARMLESS = re.compile(
    r"(?:\x1b\[\?(?!(?:3|6|47|1047|1048|1049)[hl])\d+(?:[hl]|\$p)|\x1b\[[<>=]\d*u|\x1b\[[56]n|\x1b\[\d* q"
    r"|\x1b\][^\x1b\x07]*(?:\x07|\x1b\\)|\x07)*"
)
_LEAVE_SCREEN: Final = "\x1b[?1049l"

# The terminal is asked for its cursor position after this many bytes; its answer proves their arrival. Only this
# reveals what ssh and the network buffer: they accept megabytes before a write blocks.
_PROBE: Final = "\x1b[6n"
_PROBE_EVERY = 2048
# Asks for its background; a terminal that can't answer this still answers the probe after it.
_ASK_GROUND: Final = "\x1b]11;?\x07"
# Bytes that may follow an unanswered probe: a small picture never waits, and a slow link is never far behind.
_AHEAD = 4096
# An answer that takes longer counts as lost (a terminal that never answered is not waited for).
_LOST_AFTER_S = 30.0
# Held pictures are tried again after this time.
_HELD_S = 1.0
# On exit, wait this long so that the answer is not left for the shell to read.
_LAST_ANSWER_S = 1.0

# A lone Esc, and the app's end, are noticed within this time.
_LOOK_S = 0.1

_Mark = Literal["picture", "answer", "stop"]


class TerminalWriter(Thread):
    """Writes controls in order, and the newest picture once the terminal has taken everything before it.

    Its queue never blocks the caller, and may be used by signal handlers. Only this thread knows what the terminal
    shows, its cursor and its style.
    """

    def __init__(
        self,
        fd: int,
        encoding: str,
        newest: Callable[[], Cells | None],
        on_bug: Callable[[Traceback], None],
        is_stuck: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write to fd what newest returns; after an exception, which is passed to on_bug, only controls.

        While is_stuck returns True, no picture is sent: sshd probes the other side only when nothing goes out (OpenSSH
        10, ClientAliveInterval 2: not once in 60 s while an app drew every 0.6).
        """
        super().__init__(daemon=True, name="terminal-output")
        self._fd = fd
        self._encoding = encoding
        self._newest = newest
        self._on_bug = on_bug
        self._is_stuck = is_stuck
        self._queue: SimpleQueue[tuple[_Mark, None] | tuple[Literal["control"], str]] = SimpleQueue()
        self._picture_queued = False
        self._forgotten = True
        self._shown: Cells | None = None
        self._pen = Pen()
        self._held = False
        self._answers = False
        self._asked_at: float | None = None
        self._bytes_since_question = 0
        self.pictures = True

    @property
    def awaits_answer(self) -> bool:
        """Return whether the terminal owes an answer that would otherwise reach the next reader of its input."""
        asked_at = self._asked_at
        return asked_at is not None and (self._answers or time.monotonic() < asked_at + _LAST_ANSWER_S)

    def control(self, sequence: str) -> None:
        """Send a sequence unchanged, after everything queued before it."""
        self._queue.put(("control", sequence))

    def picture(self) -> None:
        """Send the newest picture when the terminal can take it; repeated calls before that send one."""
        if not self._picture_queued:
            self._picture_queued = True
            self._queue.put(("picture", None))

    def forget(self) -> None:
        """Redraw everything at the next picture."""
        self._forgotten = True

    def answered(self) -> None:
        """Note that the terminal has shown everything sent before the last probe."""
        self._queue.put(("answer", None))

    def stop(self) -> None:
        """Write what is queued, but no more pictures, and end."""
        self.pictures = False
        self._queue.put(("stop", None))

    def run(self) -> None:
        """Write until stopped or until the terminal is gone."""
        going_on = True
        while going_on:
            try:
                text, going_on = self._next_output()
                self._write(text)
            except OSError:
                # The terminal hung up (the app learns it from SIGHUP and its input): nobody reads any more.
                return
            except Exception:
                self.pictures = False
                self._on_bug(Traceback())

    def _next_output(self) -> tuple[str, bool]:
        """Wait for the queue; return what to write for all queued entries, and whether to continue."""
        pieces = []
        going_on = True
        try:
            entry = self._queue.get(timeout=_HELD_S if self._held else None)
        except Empty:
            return self._difference(), True
        while True:
            mark, sequence = entry
            if sequence is not None:
                pieces.append(self._controlled(sequence))
            elif mark == "picture":
                self._picture_queued = False
                pieces.append(self._difference())
            elif mark == "answer":
                self._answers, self._asked_at = True, None
                if self._held:
                    pieces.append(self._difference())
            elif mark == "stop":
                going_on = False
            try:
                entry = self._queue.get_nowait()
            except Empty:
                return "".join(pieces), going_on

    def _controlled(self, sequence: str) -> str:
        if sequence == _ASK_GROUND:
            self._asked_at, self._bytes_since_question = time.monotonic(), 0
            return sequence + _PROBE
        reset = "\x1b[m" if _LEAVE_SCREEN in sequence and self._pen.style != "" else ""
        if not _HARMLESS.fullmatch(sequence):
            self._shown, self._pen = None, Pen()
        return reset + sequence

    def _difference(self) -> str:
        if self._asked_at is not None and time.monotonic() > self._asked_at + _LOST_AFTER_S:
            self._asked_at = None
        is_behind = self._asked_at is not None and self._bytes_since_question > _AHEAD
        self._held = (self._answers and is_behind) or self._is_stuck()
        newest = self._newest()
        if self._held or newest is None or not self.pictures:
            return ""
        if self._forgotten:
            self._forgotten, self._shown = False, None
        text, self._pen = difference(self._shown, newest, self._pen)
        self._shown = newest
        self._bytes_since_question += len(text.encode(self._encoding, "replace"))
        if self._asked_at is None and self._bytes_since_question > _PROBE_EVERY:
            self._asked_at, self._bytes_since_question = time.monotonic(), 0
            text += _PROBE
        return text

    def _write(self, text: str) -> None:
        data = memoryview(text.encode(self._encoding, "replace"))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                select([], [self._fd], [])


class DifferenceDriver(LinuxDriver):
    """A Linux driver that keeps the terminal's cells and sends the differences (`App(driver_class=…)`)."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert self._file is not None, "a terminal app needs a standard error to draw on"
        self._output = self._file
        # Textual removes NO_COLOR from the environment and turns colours into greys: drop them altogether.
        self._colour = not app.no_color
        self._wanted: Cells | None = None
        self._terminal: TerminalWriter | None = None
        self._keyboard = Keyboard(debug)

    def write(self, data: str) -> None:
        """Apply a frame to the wanted picture, or pass a control sequence on."""
        if data in _SYNCHRONIZED:
            return
        if _FRAME.match(data):
            self._wanted = apply_frame(self._blank_or_wanted(), data, self._colour)
            if self._terminal is not None:
                self._terminal.picture()
        elif data and self._terminal is not None:
            self._terminal.control(data)

    def forget(self) -> None:
        """Send the whole picture again: something else has written on the terminal."""
        if self._terminal is not None:
            self._terminal.forget()
            self._terminal.picture()

    def start_application_mode(self) -> None:
        """Start the writer, enter the alternate screen and send the picture from before a suspension."""
        if self._terminal is None:
            output, way = self._output, way_of(os.environ)
            self._terminal = TerminalWriter(
                output.fileno(),
                output.encoding or "utf-8",
                lambda: self._wanted,
                self._report_bug,
                *([] if way is None else [way.check]),
            )
            self._terminal.start()
        # asyncio wakes its loop: the kernel may give the signal to another thread than the one that waits there,
        # and Python's own handler would then run only once something else wakes that.
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, self._sigcont_application)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.attrs_before = for_a_shell(self.attrs_before)
        self._forget_on_resize()
        if getattr(self._app, "asks_ground", False):
            self._keyboard.awaits_ground = True
            self._terminal.control(_ASK_GROUND)
        if self._wanted is not None:
            self._wanted = self._blank_or_wanted()
            self.forget()

    def stop_application_mode(self) -> None:
        """Send no more pictures, and leave the terminal as it was."""
        if self._terminal is not None:
            self._terminal.pictures = False
            give_up_at = time.monotonic() + _LAST_ANSWER_S
            while self._terminal.awaits_answer and time.monotonic() < give_up_at:
                time.sleep(0.01)
        super().stop_application_mode()

    def close(self) -> None:
        """End the writer once all is written; give up on a terminal that takes nothing for ten seconds."""
        super().close()
        if self._terminal is not None:
            self._terminal.stop()
            self._terminal.join(timeout=10)
            self._terminal = None

    def run_input_thread(self) -> None:
        """Pass on what is typed until the app ends, including what was typed by then; invalid bytes become ?."""
        keyboard = self._keyboard
        decode = getincrementaldecoder("utf-8")("replace").decode
        is_last = False
        while not is_last:
            is_last = self.exit_event.is_set()
            if select([self.fileno], [], [], _LOOK_S)[0]:
                data = os.read(self.fileno, 4096)
                if not data:  # closed: select would return at once, again and again
                    self.exit_event.wait(_LOOK_S)
                elif typed := decode(data):
                    for message in keyboard.feed(typed):
                        self.process_message(message)
            for message in keyboard.tick():
                self.process_message(message)

    def process_message(self, message: Message) -> None:
        """Keep the answers to the writer's probes from the app."""
        if isinstance(message, events.CursorPosition):
            if self._terminal is not None:
                self._terminal.answered()
            return
        super().process_message(message)

    def _blank_or_wanted(self) -> Cells:
        """Return the wanted picture in the terminal's present size."""
        try:
            width, height = os.get_terminal_size(self._output.fileno())
        except OSError:
            width, height = self._get_terminal_size()
        width, height = width or 80, height or 24
        if self._wanted is None:
            return blank_cells(width, height)
        return self._wanted if self._wanted.size == (width, height) else resized(self._wanted, width, height)

    def _report_bug(self, traceback: Traceback) -> None:
        self._app.call_later(self._app.panic, traceback)

    def _forget_on_resize(self) -> None:
        handler = signal.getsignal(signal.SIGWINCH)

        def on_resize(signal_number: int, frame: Any) -> None:
            # Terminals move rows when their width changes; the app then sends a picture in the new size.
            if self._terminal is not None:
                self._terminal.forget()
            if callable(handler):
                handler(signal_number, frame)

        signal.signal(signal.SIGWINCH, on_resize)


def is_continued_by_a_shell() -> bool:
    """Return whether the parent is a shell with job control: it shares the session and gave this job its own group.

    A process whose parent is in another session (`ssh HOST finetop`, a terminal's first program) would stay stopped.
    """
    try:
        parent = os.getppid()
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except OSError:  # the parent belongs to somebody who may not be asked, or has just ended
        return False


def for_a_shell(settings: list[Any] | None) -> list[Any] | None:
    """Return the settings to leave a terminal with: its own, unless an app killed there made it unusable."""
    if settings is not None and not settings[tty.LFLAG] & termios.ICANON:
        settings[tty.LFLAG] |= termios.ICANON | termios.ECHO | termios.IEXTEN | termios.ISIG
        settings[tty.IFLAG] |= termios.ICRNL | termios.IXON
    return settings
