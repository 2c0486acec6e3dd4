"""Reads the command line, loads the one verb that is asked for, and turns errors into a line and an exit code.

Exit codes: 0 done, 1 a negative answer (failed run, regressed), 2 bad input, 3 no verdict, 4 the environment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from finetop.core.errors import BadInput, FinetopError, did_you_mean
from finetop.core.home import Home, find_home

OpenApp = Callable[[Home], int]
NOT_VERBS = {"__init__", "main", "output", "follow", "curve_of", "reports", "adopting", "steps"}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}.", hint=f"See `{self.prog} --help`.")


def verbs() -> list[str]:
    """List the verbs: the files of this folder."""
    names = {file.stem for file in Path(__file__).parent.glob("*.py")} - NOT_VERBS
    return sorted(name.removesuffix("_") for name in names)


def module_of(verb: str) -> str:
    name = f"{verb}_" if (Path(__file__).parent / f"{verb}_.py").exists() else verb
    return f"{__package__}.{name}"


def main(argv: Sequence[str] | None = None, open_app: OpenApp | None = None) -> int:
    """Run one command. `open_app` opens the app on a home; without a verb, that is what happens."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(words, open_app)
    except FinetopError as error:
        print(f"finetop: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def dispatch(words: list[str], open_app: OpenApp | None) -> int:
    home_given, rest = take_home(words)
    if not rest:
        if open_app is None:
            raise BadInput("say what to do.", hint="See `finetop --help`.")
        return open_app(find_home(home_given))
    verb = rest[0]
    if verb in ("-h", "--help", "help"):
        print_help()
        return 0
    if verb in ("-V", "--version"):
        from importlib.metadata import version

        print(f"finetop {version('finetop')}")
        return 0
    if verb not in verbs():
        raise BadInput(f"there is no command {verb[:60]!r}.", hint=did_you_mean(verb[:60], verbs()))
    module = import_module(module_of(verb))
    parser = parser_of(verb)
    args = parser.parse_args(rest[1:])
    args.open_app = open_app
    return int(module.run(args, find_home(args.home or home_given)))


def take_home(words: list[str]) -> tuple[str | None, list[str]]:
    """Take `--home DIR` from before the verb."""
    if words[:1] == ["--home"] and len(words) > 1:
        return words[1], words[2:]
    if words and words[0].startswith("--home="):
        return words[0].partition("=")[2], words[1:]
    return None, words


def parser_of(verb: str) -> argparse.ArgumentParser:
    module = import_module(module_of(verb))
    parser = Parser(prog=f"finetop {verb}", description=module.ABOUT, allow_abbrev=False)
    add_arguments(parser, module.arguments)
    return parser


def add_arguments(parser: argparse.ArgumentParser, own: Callable[[argparse.ArgumentParser], None]) -> None:
    own(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document (lines where it streams)")
    parser.add_argument("--home", metavar="DIR", help="home folder (else FINETOP_HOME, else ~/.finetop)")


def print_help() -> None:
    print("finetop: fine-tune language models and prove whether they forgot.\n")
    print("  finetop                the app")
    for verb in verbs():
        print(f"  finetop {verb:<14} {import_module(module_of(verb)).ABOUT}")
    print("\nEach takes --json, --home DIR and --help.")
    print("Exit codes: 0 done, 1 a negative answer, 2 bad input, 3 no verdict, 4 the environment.")


def whole_parser() -> argparse.ArgumentParser:
    """One parser with all verbs below it, for shell completion."""
    parser = argparse.ArgumentParser(prog="finetop")
    parser.add_argument("--home", metavar="DIR")
    below = parser.add_subparsers(dest="verb")
    for verb in verbs():
        module = import_module(module_of(verb))
        add_arguments(below.add_parser(verb, help=module.ABOUT), module.arguments)
    return parser
