"""Where another program's numbers are read from, and which files were left out, and why."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(max_length=10_000)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
Keys = Annotated[list[Key], Meta(max_length=2000)]


class ReadFile(msgspec.Struct, frozen=True):
    """A file or database that numbers are read from."""

    source: Key  # a file of core/external/sources
    file: Text
    why: Text  # it is believed
    metrics: Keys  # that are taken from it
    also: Keys = []  # that it has, and that are taken from another


class FilesLeftOut(msgspec.Struct, frozen=True):
    """Files with numbers that are not read: of another program, or nobody can tell."""

    source: Key
    file: Text  # if it is one; else their folder
    files: Annotated[int, Meta(ge=1, lt=2**31)]
    why: Text


class NumbersFrom(msgspec.Struct, tag="numbers_from", frozen=True):
    """Where a program's numbers are read from, and what else was found; it replaces what was reported before."""

    read: Annotated[list[ReadFile], Meta(max_length=1000)]
    left_out: Annotated[list[FilesLeftOut], Meta(max_length=1000)] = []
