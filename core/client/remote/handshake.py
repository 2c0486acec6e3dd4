"""What finetop on the other machine says first, and whether this one understands it."""

from __future__ import annotations

import msgspec

from finetop.core.errors import NoSupervisor
from finetop.core.protocol import wire
from finetop.core.protocol.messages.session import HelloAnswer

LONGEST = 64 << 10  # bytes that may come before it: login scripts print things


class Greeting(msgspec.Struct, frozen=True):
    """One line of JSON: what `finetop supervisor start --json` prints."""

    supervisor: HelloAnswer
    socket: str
    schema: int = 1


def read_greeting(said: bytes) -> Greeting | None:
    """Find the greeting among the whole lines that came so far; what login scripts print is passed over."""
    for line in said.split(b"\n")[:-1]:
        if line.lstrip().startswith(b"{"):
            try:
                return msgspec.json.decode(line, type=Greeting)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
    return None


def require_understood(greeting: Greeting, label: str, own: int = wire.VERSION) -> None:
    """Refuse a supervisor of another protocol, in words. Raises NoSupervisor."""
    there = greeting.supervisor
    if there.protocol == own:
        return
    older = "there" if there.protocol < own else "here"
    raise NoSupervisor(
        f"{label} has finetop {there.version}, which speaks protocol {there.protocol}; this one speaks {own}.",
        hint=f"Upgrade finetop {older}: pip install --upgrade finetop.",
    )
