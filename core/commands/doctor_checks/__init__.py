"""What `finetop doctor` looks at: each finding says how it stands, and what to do where it does not stand well."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "trouble"]
    about: str
    text: str
    fix: str = ""  # what to do; empty where all is well
