"""Detects whether the way to the terminal is stuck, from the kernel's data on the ssh connection of this session."""

from __future__ import annotations

import ipaddress
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
# Retransmissions of the same bytes: takes about 2 s; at 1 % loss it happens by chance once in a million.
TIMES = 3
LOOK_S = 1.0


@dataclass
class Way:
    """The two ends of a TCP connection, as the kernel's tables write them, and its last known state."""

    here: str
    there: frozenset[str]
    is_stuck: bool = False
    looked_at: float = -LOOK_S

    def check(self) -> bool:
        """Return whether it is stuck, checked at most once a second."""
        now = time.monotonic()
        if now >= self.looked_at + LOOK_S:
            self.looked_at = now
            self.is_stuck = any(sent_again(self, _read(table)) >= TIMES for table in TABLES)
        return self.is_stuck


def way_of(environment: Mapping[str, str]) -> Way | None:
    """Return the ssh connection of the app's session; None if there is none, or a multiplexer is between."""
    connection = environment.get("SSH_CONNECTION", "").split()
    if len(connection) != 4 or environment.get("TMUX") or environment.get("STY"):
        return None  # the last two outlive the connection
    try:
        address = ipaddress.ip_address(connection[0].partition("%")[0])
        there, here = (f":{int(port):04X}" for port in (connection[1], connection[3]))
    except ValueError:
        return None
    forms = [address.packed]
    if address.version == 4:  # for a server that listens on both
        forms.append(bytes(10) + b"\xff\xff" + address.packed)
    return Way(here, frozenset(_written(form) + there for form in forms))


def _written(address: bytes) -> str:
    """Format an address as the kernel does: in words of this machine's byte order."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(address) // 4}I", address))


def sent_again(way: Way, table: str) -> int:
    """Return how often the oldest unacknowledged bytes were sent again, from the kernel's table of connections."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 6 and fields[1].endswith(way.here) and fields[2] in way.there:
            return int(fields[6], 16)
    return 0


def _read(table: str) -> str:
    try:
        return Path(table).read_text()
    except OSError:
        return ""
