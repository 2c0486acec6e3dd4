"""A verb on several runs: each is tried and printed on its own line; the exit code is the worst of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options, remote
from finetop.core.commands.shared.output import agreed, is_to_ask, print_json, warn
from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import RunDetail
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording.endings import Confirmation

Result = TypeVar("Result")
Outcomes = list[tuple[str, Result | FinetopError]]  # (run as typed, outcome)


def arguments(parser: argparse.ArgumentParser, about: str = "name or number") -> None:
    """Add RUN, repeatable."""
    options.value(parser, "runs", "RUN", f"{about}; several may be named", nargs="+")


def command(
    about: str,
    group: str,
    arguments: Callable[[argparse.ArgumentParser], None],
    run_several: Callable[[argparse.Namespace, Sequence[Home]], int],
) -> Command:
    """Return a command on several runs, which runs on one machine as it does on several."""
    return Command(about, group, lambda args, home: run_several(args, [home]), arguments, run_several)


def each(
    args: argparse.Namespace, homes: Sequence[Home], do: Callable[[str, Home], Result]
) -> tuple[Outcomes[Result], int]:
    """Call `do` for each of `args.runs` on its machine. Returns outcomes and the worst exit code; one alone raises."""
    outcomes: Outcomes[Result] = []
    code = 0
    for run in dict.fromkeys(args.runs):
        try:
            home, name = remote.find_run(run, homes)
            outcomes.append((run, do(name, home)))
        except FinetopError as error:
            if len(args.runs) == 1:
                raise
            if not args.json:
                warn(clean_line(str(error)))
            outcomes.append((run, error))
            code = max(code, error.exit_code)
    return outcomes, code


def send_each(
    args: argparse.Namespace,
    homes: Sequence[Home],
    message_of: Callable[[str], Ask],
    asking: Callable[[RunDetail], Confirmation] | None = None,
) -> int:
    """Send an order for each run and print the answers. With `asking` a person is asked first; exit code 1 if not."""
    left = 0

    def do(run: str, home: Home) -> str:
        nonlocal left
        with Client(home) as client:
            if asking is not None and is_to_ask(args):
                detail = client.ask(GetRun(run))
                if detail.row.is_under_way and not agreed(args, str(asking(detail))):
                    left += 1
                    print("Nothing was done.")
                    return ""
            done: Done = client.ask(message_of(run))
        if not args.json:
            print(done.message)
        return done.message

    outcomes, code = each(args, homes, do)
    if args.json:
        print_outcomes(outcomes, lambda message: {"message": message})
    return max(code, int(left > 0))


def ordering(
    about: str,
    ask: Callable[[str], Ask],
    asking: Callable[[RunDetail], Confirmation] | None = None,
    runs: str = "name or number",
) -> Command:
    """Return the command that gives an order for each of several runs."""

    def add(parser: argparse.ArgumentParser) -> None:
        arguments(parser, runs)
        if asking is not None:
            options.yes(parser)

    return command(about, "run", add, lambda args, homes: send_each(args, homes, ask, asking))


def print_outcomes(outcomes: Outcomes[Result], document: Callable[[Result], dict[str, Any]]) -> None:
    """Print the outcome of one run as its own document, those of several as a list."""
    outcome = outcomes[0][1]
    if len(outcomes) == 1 and not isinstance(outcome, FinetopError):
        print_json(document(outcome))
        return
    runs = [
        {"run": run, **({"error": str(result)} if isinstance(result, FinetopError) else document(result))}
        for run, result in outcomes
    ]
    print_json({"runs": runs})
