"""Reports of a check for continuous integration: --junit FILE and --markdown FILE, for every verb that judges."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.protocol.check_result import CheckResult
from finetop.core.text import plain
from finetop.core.wording.check_junit import junit
from finetop.core.wording.check_markdown import markdown

WRITERS: dict[str, Callable[[str, CheckResult], str]] = {"junit": junit, "markdown": markdown}
STDOUT = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add --junit FILE and --markdown FILE."""
    parser.add_argument("--junit", default="", metavar="FILE", help="write JUnit XML too (- for stdout)")
    parser.add_argument(
        "--markdown", default="", metavar="FILE", help="write a pull request's comment too (- for stdout)"
    )


def on_stdout(args: argparse.Namespace) -> bool:
    """Say whether a report takes stdout, so that nothing else may be printed. Ask before the work begins.

    Raises BadInput where two would mix there, or a report's folder is missing.
    """
    taking = [f"--{name} -" for name in WRITERS if getattr(args, name) == STDOUT]
    if len(taking) + bool(args.json) > 1:
        both = " and ".join([*taking, *(["--json"] if args.json else [])])
        raise BadInput(f"{both} would mix on stdout.", hint="Give a file to all but one.")
    for name in WRITERS:
        path = getattr(args, name)
        if path and path != STDOUT and not Path(path).parent.is_dir():
            raise BadInput(
                f"--{name}: there is no folder {plain(str(Path(path).parent))}.", hint="Make it first."
            )
    return bool(taking)


def write(args: argparse.Namespace, name: str, outcome: CheckResult) -> None:
    """Write the reports that were asked for. Raises EnvironmentTrouble where a file can't be written."""
    for kind, writer in WRITERS.items():
        path = getattr(args, kind)
        if path == STDOUT:
            sys.stdout.write(writer(name, outcome))
            sys.stdout.flush()
        elif path:
            try:
                Path(path).write_text(writer(name, outcome), encoding="utf-8")
            except OSError as error:
                raise EnvironmentTrouble(
                    f"--{kind}: {plain(path)} can't be written: {error.strerror or error}.",
                    hint="Give another file.",
                ) from error
