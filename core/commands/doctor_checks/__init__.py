"""What `finetop doctor` looks at: each finding says how it stands, and what to do where it does not stand well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from finetop.core.errors import FinetopError
from finetop.core.runtime.home import Home, is_made, prepare


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "trouble"]
    about: str
    text: str
    fix: str = ""  # what to do; empty where all is well


def look(home: Home) -> Iterator[Finding]:
    """Look at the machine, the home, and what runs on it. Nothing is changed, nothing made."""
    from finetop.core.commands.doctor_checks import folders, gpus, machine, processes, slurm

    yield machine.python()
    yield machine.libraries()
    try:
        is_there = is_made(home)
        if is_there:
            prepare(home)
    except FinetopError as error:
        yield Finding("trouble", "home", error.message, error.hint)
        return
    yield from folders.look(home) if is_there else folders.look_ahead(home)
    yield from processes.look(home) if is_there else ()
    yield from gpus.look()
    yield from slurm.look(home)
    yield machine.lingering()
    yield machine.clock(home)
