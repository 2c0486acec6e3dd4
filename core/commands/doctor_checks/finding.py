"""One finding of `finetop doctor`."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    level: Literal["ok", "warning", "trouble"]
    about: str
    text: str
    fix: str = ""  # what to do; empty if all is well
