"""The user of this machine that finetop runs as."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """Return the user's name; empty if the user has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
