"""A program that borrows the app's terminal gets ctrl+c alone."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from finetop.tui.screens.run.outside import run_in_terminal


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGQUIT])
def test_an_interrupt_is_for_the_program_that_has_the_terminal(tmp_path: Path, kind: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(kind, lambda number, _: heard.append(number))
    app = SimpleNamespace(suspend=nullcontext, action_redraw=lambda: None)
    app.screen = SimpleNamespace(app=app)
    try:
        # a terminal signals both processes; it ends the program, which therefore never touches the file
        command = ["sh", "-c", f"kill -{kind} $PPID; kill -{kind} $$; touch went-on"]
        run_in_terminal(cast("Any", app), command, tmp_path)
        assert heard == [] and not (tmp_path / "went-on").exists()
        signal.raise_signal(kind)
        assert heard == [kind]
    finally:
        signal.signal(kind, before)
