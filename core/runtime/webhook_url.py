"""Addresses of webhooks: which may be asked, and which are secrets that no settings file may hold."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.runtime.files import open_regular

if TYPE_CHECKING:
    from finetop.core.recipe.home_settings import Tell

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHORTEST_SECRET = (
    16  # characters of a part of the path that may be drawn at random, or a topic that nobody guesses
)


def is_fine(address: str) -> bool:
    """Say whether an address may be posted to: over TLS, or on this machine itself."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    if not host or any(ord(letter) <= 32 or ord(letter) >= 127 for letter in address):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


def holds_secret(address: str) -> bool:
    """Say whether somebody who reads an address could post to it in its owner's name, as far as one can see."""
    parts = urlsplit(address)
    if parts.username is not None or parts.query or parts.fragment:
        return True
    return any(len(part) >= SHORTEST_SECRET for part in parts.path.split("/"))


def of(tell: Tell) -> str:
    """Give the address that the settings name, from where it is kept. Raises FinetopError, which does not repeat it."""
    webhook = tell.webhook
    assert webhook is not None
    if webhook.url is not None:
        return webhook.url
    if webhook.url_env is not None:
        place, found = f"the variable {webhook.url_env}", os.environ.get(webhook.url_env, "").strip()
        if not found:
            hint = "Set it where the supervisor starts: `finetop supervisor stop`, then any command."
            raise EnvironmentTrouble(
                f"tell.webhook: the supervisor has no variable {webhook.url_env}.", hint=hint
            )
    else:
        assert webhook.url_file is not None
        place, found = webhook.url_file, _first_line(Path(webhook.url_file))
    if not is_fine(found):
        raise BadInput(f"{place} must hold an address that begins with https://, or with http://localhost.")
    return found


def _first_line(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            facts = os.fstat(opened.fileno())
            lines = opened.read(8192).decode("utf-8", "replace").split("\n")
    except OSError as error:
        raise EnvironmentTrouble(f"tell.webhook.url_file: {file} can't be read: {error.strerror}.") from error
    if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise BadInput(f"{file} holds a secret, and others may read it.", hint=f"chmod 600 {file}")
    return lines[0].strip()
