"""Which machines and which home a command is for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Where:
    """Which machines and which home a command is for, from the options before and after the verb."""

    home: str | None = None
    on: list[str] = field(default_factory=list)
    remote_command: str = ""
