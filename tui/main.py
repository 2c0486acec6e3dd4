"""The `finetop` command: the app when no verb is given, else the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from finetop.core.commands.main import main as command_line
from finetop.core.runtime.home import Home


def open_app(homes: Sequence[Home], run: str = "", /) -> int:
    """Open the app on homes, and there on a run. Imported late: commands must not pay for it."""
    from finetop.tui.run_app import run_app

    return run_app(homes, run)


def main() -> int:
    return command_line(open_app=open_app)


if __name__ == "__main__":
    sys.exit(main())
