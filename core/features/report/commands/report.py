"""`finetop report RUN`: one page for a colleague: data, recipe, curves, verdict and changed answers.

For a comparison of approaches: which is best and at what cost, the advice, what each forgot, and the data.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import print_json
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.approaches.approaches import TAG
from finetop.core.features.approaches.messages import Approaches
from finetop.core.features.report import formats
from finetop.core.features.report.approaches_page import comparison_of, page_of_comparison
from finetop.core.features.report.load import load_facts
from finetop.core.features.report.page import Page
from finetop.core.features.report.run_page import page_of
from finetop.core.runtime.files import given_path, write_whole
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import own_version
from finetop.core.text import plain

STDOUT = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "a run's name or number, or a comparison's name")
    options.path(parser, "--to", "FILE", "format by file extension (default ./RUN.html; - for stdout)")
    options.flag(parser, "--markdown", "write Markdown")
    options.flag(parser, "--force", "overwrite an existing file")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.to == STDOUT and args.json:
        raise BadInput("--to - and --json would both write to stdout.", hint="Give a file to --to.")
    ending = Path(args.to or "").suffix.lower()
    form = format_of(ending, markdown=args.markdown)
    kind = formats.load(form)
    with Client(home) as client:
        page = page_about(client, args.run)
    target = given_path(args.to or f"{page.title.replace(':', '-')}{kind.ending}")
    if args.to != STDOUT:
        require_free(target, force=args.force)
    text = kind.written(page)
    if args.to == STDOUT:
        sys.stdout.write(text)
        return 0
    write(target, text)
    if args.json:
        print_json({"run": page.title, "format": form, "file": str(target.absolute())})
    else:
        print(f"Wrote {plain(str(target))}")
    return 0


def page_about(client: Client, name: str) -> Page:
    """Return the page of a run, or of the comparison of that name if there is no such run. Raises FinetopError."""
    now, version = time.time(), own_version()
    if not name.startswith(TAG):
        try:
            return page_of(load_facts(client.ask, name), now, version)
        except BadInput:  # no run has that name
            known = client.ask(Approaches())
            if name not in {comparison.name for comparison in known.comparisons}:
                raise
    return page_of_comparison(comparison_of(client.ask, name.removeprefix(TAG)), now, version)


def format_of(ending: str, *, markdown: bool) -> str:
    """Return the format's name: by --markdown, else by the file's extension, else HTML. Raises BadInput."""
    endings = {formats.load(name).ending: name for name in formats.names()}
    if markdown:
        if ending == ".html":
            raise BadInput("--markdown contradicts --to FILE.html.", hint="Use one of them.")
        return "markdown"
    if ending and ending not in endings:
        hint = f"End it in {' or '.join(sorted(endings))}."
        raise BadInput(f"--to: {plain(ending)} is not a format.", hint=hint)
    return endings.get(ending, "html")


def require_free(target: Path, *, force: bool) -> None:
    """Require that a file can be written there. Raises BadInput."""
    if not target.parent.is_dir():
        raise BadInput(f"--to: no folder {plain(str(target.parent))}.", hint="Create it first.")
    if target.is_dir():
        raise BadInput(f"--to: {plain(str(target))} is a folder.", hint="Name a file.")
    if not force and (target.exists() or target.is_symlink()):
        hint = "Name another with --to, or use --force."
        raise BadInput(f"{plain(str(target))} already exists.", hint=hint)


def write(target: Path, text: str) -> None:
    """Write the whole file or nothing. Raises EnvironmentTrouble."""
    try:
        write_whole(target, text.encode("utf-8", "replace"))
    except OSError as error:
        raise EnvironmentTrouble(
            f"{plain(str(target))} can't be written: {error.strerror or error}.", hint="Give another file."
        ) from error


ABOUT = "write a one-page report of a run or a comparison: HTML or Markdown"
PLUGIN = Command(ABOUT, "compare", run, arguments)
