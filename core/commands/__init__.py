"""The command line: a verb a file, found by listing this folder, which ends with its instance of Command.

Heavy imports stay inside functions: `finetop ls` must start in under 0.3 s.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from finetop.core.runtime.home import Home


@dataclass(frozen=True, slots=True)
class Command:
    """What a verb does."""

    about: str  # one line
    group: str  # of `finetop --help`
    run: Callable[[Namespace, Home], int]  # returns the exit code
    arguments: Callable[[ArgumentParser], None] = lambda parser: None  # adds its own
    run_several: Callable[[Namespace, Sequence[Home]], int] | None = None  # on several machines at once
    # All is done through a supervisor, so that `--on HOST` may take it to another machine: the home's paths are there.
    is_remote: bool = True
    takes_command: bool = False  # another program's words may follow `--`, as args.command


@dataclass(frozen=True, slots=True)
class Section:
    """What a feature's `show.read(client, detail)` adds to `finetop show RUN`."""

    behind: str  # the head of our lines that it stands behind: data, check
    lines: Sequence[tuple[str, str]]  # a head, or nothing, and the text
    facts: Mapping[str, object] = field(default_factory=dict)  # with --json


@dataclass
class Where:
    """Which machines and which home a command is for, from the options before and after the verb."""

    home: str | None = None
    on: list[str] = field(default_factory=list)
    remote_command: str = ""
