"""The names that a run or a recipe may have."""

from __future__ import annotations

import re

from finetop.core.errors import RecipeError
from finetop.core.text import quoted

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", re.ASCII)
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def check_name(name: str, place: str) -> str:
    """Return the name of a run or recipe if it is safe as a folder name and on a command line.

    1 to 80 letters, digits, `.`, `_`, `-`; no leading `.` or `-`; no plain number (that is a run's number); no
    device name of Windows. Raises RecipeError at `place`.
    """
    if not _NAME.fullmatch(name):
        hint = "Use 1 to 80 letters, digits, . _ or -, and start with a letter, a digit or _."
    elif name.isdigit():
        hint = f"A plain number refers to a run by its number. Try run-{name[:20]}."
    elif name.split(".")[0].lower() in _DEVICES:
        hint = f"It is reserved on some systems. Try {name}-run."
    else:
        return name
    raise RecipeError(f"{quoted(name)} cannot be a name.", place=place, key="name", hint=hint)
