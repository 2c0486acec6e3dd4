"""Slurm's short form of several hosts: n[1-3,7] is n1, n2, n3 and n7."""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 10_000  # of one text


def names(text: str) -> list[str]:
    """Expand a host list such as 'n[01-03],login'."""
    hosts: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        hosts += _expanded(part)
    return hosts[:MOST]


def _expanded(part: str) -> Iterator[str]:
    before, bracket, behind = part.partition("[")
    if not bracket:
        yield part
        return
    inside, _, after = behind.partition("]")
    for piece in inside.split(","):
        first, dash, last = piece.partition("-")
        if not dash or not (first.isdecimal() and last.isdecimal()):
            numbers = [piece]
        else:
            numbers = [
                f"{n:0{len(first)}d}" for n in range(int(first), min(int(last), int(first) + MOST) + 1)
            ]
        for number in numbers:
            for ending in _expanded(after) if after else ("",):
                yield f"{before}{number}{ending}"
