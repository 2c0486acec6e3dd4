"""Webhook addresses: which are allowed, and which are secrets that no settings file may contain."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Length of a path segment that may be random, or a topic that nobody could guess.
SHORTEST_SECRET = 16


def is_fine(address: str) -> bool:
    """Return whether an address may be posted to: over TLS, or on this machine."""
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
    """Return whether an address probably lets its reader post in the owner's name."""
    parts = urlsplit(address)
    if parts.username is not None or parts.query or parts.fragment:
        return True
    return any(len(part) >= SHORTEST_SECRET for part in parts.path.split("/"))
