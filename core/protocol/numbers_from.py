"""Where another program's numbers and its configuration are read from, and which files were left out, and why."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(max_length=10_000)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
Keys = Annotated[list[Key], Meta(max_length=2000)]
MOST_SETTINGS, LONGEST_SETTING = 500, 200  # characters of a value
SettingName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,300}\Z")]
Setting = Annotated[float, Meta(ge=-1e290, le=1e290)] | Annotated[str, Meta(max_length=LONGEST_SETTING)]


class ReadFile(msgspec.Struct, frozen=True):
    """A file or database that numbers are read from."""

    source: Key  # a file of core/external/sources
    file: Text
    why: Text  # it is believed
    metrics: Keys  # that are taken from it
    also: Keys = []  # that it has, and that are taken from another
    settings: Annotated[int, Meta(ge=0, lt=2**31)] = 0  # of the program's configuration, that it has


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
    # its configuration by dotted name; the runs' setting is config.NAME
    settings: Annotated[dict[SettingName, Setting], Meta(max_length=MOST_SETTINGS)] = {}
