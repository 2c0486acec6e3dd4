"""What `finetop doctor` looks at: each finding says how it stands, and what to do where it does not stand well."""

from __future__ import annotations

from collections.abc import Iterator

from finetop.core.commands.doctor_checks.finding import Finding
from finetop.core.errors import FinetopError
from finetop.core.runtime.home import Home, prepare


def look(home: Home) -> Iterator[Finding]:
    """Look at the machine, the home, and what runs on it. Nothing is changed but that the home is made."""
    from finetop.core.commands.doctor_checks import folders, gpus, machine, processes, slurm

    yield machine.python()
    yield machine.libraries()
    try:
        prepare(home)
    except FinetopError as error:
        yield Finding("trouble", "home", error.message, error.hint)
        return
    yield from folders.look(home)
    yield from processes.look(home)
    yield from gpus.look()
    yield from slurm.look(home)
    yield machine.lingering()
    yield machine.clock(home)
