"""Lines that the mouse can point at: presses, drags and wheel turns on them become messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast

from textual import events
from textual.dom import DOMNode
from textual.message import Message

from finetop.tui.widgets.lines import Lines


class OnLines(Message):
    """The mouse was used on the lines `control`."""

    @property
    def control(self) -> DOMNode | None:
        return cast("DOMNode | None", self._sender)


class PointedLines(Lines):
    """A block of rows that reports where the mouse is used on it."""

    @dataclass
    class Pointed(OnLines):
        """The mouse was pressed at a cell, or is dragged to one."""

        x: int
        y: int
        is_dragged: bool

    @dataclass
    class Dragged(OnLines):
        """It was released at another cell than it was pressed at: `start`."""

        x: int
        y: int
        start: tuple[int, int]

    @dataclass
    class Wheel(OnLines):
        """Its wheel was turned at a cell: up (1) or down (-1)."""

        x: int
        y: int
        direction: int

    Used: TypeAlias = Pointed | Dragged | Wheel

    _pressed: tuple[int, int] | None = None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._pressed = event.x, event.y
        self.post_message(self.Pointed(event.x, event.y, is_dragged=False))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._pressed is not None and event.button:
            self.post_message(self.Pointed(event.x, event.y, is_dragged=True))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is not None and pressed != (event.x, event.y):
            self.post_message(self.Dragged(event.x, event.y, pressed))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.post_message(self.Wheel(event.x, event.y, 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.post_message(self.Wheel(event.x, event.y, -1))
