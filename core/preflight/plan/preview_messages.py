"""What the app and the process that looks ahead for it (preview.py) say to each other."""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core.preflight.plan.result import Plan


class Asked(msgspec.Struct, frozen=True):
    """A resolved recipe, and whether its first row is wanted: that takes seconds."""

    recipe: dict[str, Any]
    row: bool = True


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding: a plan, or the first row as runs of text that are learned or not; else why there is none."""

    plan: Plan | None = None
    row: list[tuple[str, bool]] | None = None
    trouble: str = ""
