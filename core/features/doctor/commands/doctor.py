"""`finetop doctor`: find problems with this machine and home. Exit code 4 if there is trouble."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from finetop.core.commands import Command
from finetop.core.commands.shared.output import print_json
from finetop.core.errors import FinetopError
from finetop.core.features.doctor.checks import Finding, trouble
from finetop.core.runtime.home import Home, is_made, prepare
from finetop.core.text import clean_line

MARKS = {"ok": "✓", "warning": "!", "trouble": "✗"}


def run(args: argparse.Namespace, home: Home) -> int:
    findings = list(find_all(home))
    if args.json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{MARKS[finding.level]} {finding.about:<12} {clean_line(finding.text)}")
            if finding.fix:
                print(f"  {'':<12} -> {clean_line(finding.fix)}")
    return 4 if any(finding.level == "trouble" for finding in findings) else 0


def find_all(home: Home) -> Iterator[Finding]:
    """Yield the findings on the machine, the home and its processes. Nothing is changed or created."""
    from finetop.core.features.doctor.checks import folders, gpus, machine, processes, slurm

    yield machine.python()
    yield machine.libraries()
    try:
        is_there = is_made(home)
        if is_there:
            prepare(home)
    except FinetopError as error:
        yield trouble("home", error.message, error.hint)
        return
    yield from folders.folder_findings(home) if is_there else folders.future_home_findings(home)
    yield from processes.process_findings(home) if is_there else ()
    yield from gpus.gpu_findings()
    yield from slurm.slurm_findings(home)
    yield machine.lingering()
    yield machine.clock(home)


PLUGIN = Command("find problems with this machine or home", "maintenance", run, is_remote=False)
