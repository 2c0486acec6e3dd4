"""Runs the app on this terminal, where there is one that can be drawn on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from finetop.core.errors import EnvironmentTrouble
from finetop.tui.app import FinetopApp
from finetop.tui.terminal.driver import DifferenceDriver
from finetop.tui.theme import require_theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.runtime.home import Home


def run_app(homes: Sequence[Home], run: str = "") -> int:
    """Run the app on homes, on a run where one is named, until the user leaves; 0 is the exit code.

    Raises EnvironmentTrouble where there is no terminal.
    """
    require_theme(os.environ.get("FINETOP_THEME", ""))
    without = "`finetop ls` lists the runs without one."
    if os.environ.get("TERM") == "dumb":
        raise EnvironmentTrouble(
            "TERM is dumb, and the app needs a terminal that moves its cursor.", hint=without
        )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise EnvironmentTrouble("the app needs a terminal.", hint=without)
    goes_on = FinetopApp(homes[0], others=homes[1:], run=run, driver_class=DifferenceDriver).run()
    if goes_on:
        print(goes_on)
    return 0
