"""Addresses of webhooks: which may be asked, and which are secrets that no settings file may hold."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Characters of a part of the path that may be drawn at random, or a topic that nobody guesses.
SHORTEST_SECRET = 16


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
