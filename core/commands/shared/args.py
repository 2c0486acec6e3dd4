"""Reads RUN or RUN@STEP from the command line: shared by `resume` and `export`."""

from __future__ import annotations

from finetop.core.errors import BadInput


def run_and_step(text: str) -> tuple[str, int | None]:
    """Take RUN@STEP apart. Raises BadInput for a step that is no number."""
    name, at, step = text.partition("@")
    if at and not (step.isdecimal() and len(step) < 10):
        raise BadInput(f"{text}: {step!r} is not a step.", hint="Try RUN@120.")
    return name, int(step) if at else None
