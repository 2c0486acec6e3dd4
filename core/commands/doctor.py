"""`finetop doctor`: find problems with this machine and home. Exit code 4 if there is trouble."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command, doctor_checks
from finetop.core.commands.shared.output import print_json
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line

MARKS = {"ok": "✓", "warning": "!", "trouble": "✗"}


def run(args: argparse.Namespace, home: Home) -> int:
    findings = list(doctor_checks.find_all(home))
    if args.json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{MARKS[finding.level]} {finding.about:<12} {clean_line(finding.text)}")
            if finding.fix:
                print(f"  {'':<12} -> {clean_line(finding.fix)}")
    return 4 if any(finding.level == "trouble" for finding in findings) else 0


PLUGIN = Command("find problems with this machine or home", "maintenance", run, is_remote=False)
