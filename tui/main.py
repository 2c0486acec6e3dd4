"""The `finetop` command: the app when no verb is given, else the command line."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetop.core.commands.main import main as command_line
from finetop.core.errors import EnvironmentTrouble
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from finetop.core.features.chat.messages import ChatSettings


def open_app(homes: Sequence[Home], run: str = "", chat: ChatSettings | None = None, /) -> int:
    """Run the app on homes, on `run` if it is given, with settings in the open chat with it; return 0 when it ends.

    Its modules are imported here so that commands do not load them. Raises EnvironmentTrouble if there is no terminal,
    or no supervisor on this machine and none can start; Fault if the app crashed.
    """
    from finetop.core.client.connection import require_supervisor
    from finetop.tui.app import FinetopApp
    from finetop.tui.terminal.driver import DifferenceDriver
    from finetop.tui.terminal.look_of import require_theme

    require_theme(os.environ.get("FINETOP_THEME", ""))
    without = "`finetop ls` lists the runs without one."
    if os.environ.get("TERM") == "dumb":
        raise EnvironmentTrouble(
            "TERM is dumb: the app needs a terminal that can move its cursor.", hint=without
        )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise EnvironmentTrouble("the app needs a terminal.", hint=without)
    if all(home.link is None for home in homes):
        require_supervisor(homes[0])
    app = FinetopApp(homes[0], others=homes[1:], run=run, chat=chat, driver_class=DifferenceDriver)
    gc.freeze()  # imported modules are never garbage: spares keys a 30 ms collection over all of them
    goes_on = app.run()
    if app.fault is not None:
        raise app.fault
    if goes_on:
        print(goes_on)
    return 0


def main() -> int:
    return command_line(open_app=open_app)


if __name__ == "__main__":
    sys.exit(main())
