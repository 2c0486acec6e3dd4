"""The checks of `finetop doctor`: each finding describes one state, and the fix if something is wrong."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One finding of `finetop doctor`."""

    level: Literal["ok", "warning", "trouble"]
    about: str
    text: str
    fix: str = ""  # what to do; empty if all is well


def ok(about: str, text: str) -> Finding:
    return Finding("ok", about, text)


def warning(about: str, text: str, fix: str) -> Finding:
    return Finding("warning", about, text, fix)


def trouble(about: str, text: str, fix: str) -> Finding:
    return Finding("trouble", about, text, fix)
