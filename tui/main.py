"""The `finetop` command: the app when no verb is given, else the command line."""

from __future__ import annotations

import sys

from finetop.core.commands.main import main as command_line
from finetop.core.home import Home


def open_app(home: Home) -> int:
    """Open the app on a home. Imported late: commands must not pay for it."""
    from finetop.tui.app import run_app

    return run_app(home)


def main() -> int:
    return command_line(open_app=open_app)


if __name__ == "__main__":
    sys.exit(main())
