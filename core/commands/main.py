"""Parse the command line, import only the verb that is named, and turn errors into one line and an exit code.

Exit codes: 0 done, 1 a negative answer (failed run, regressed), 2 bad input, 3 no verdict, 4 the environment.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from textwrap import fill
from typing import IO, Any, NoReturn, Protocol, cast

from finetop.core import plugins
from finetop.core.commands import Command, Where
from finetop.core.commands.shared import options
from finetop.core.commands.shared.table_layout import wrapped
from finetop.core.errors import BadInput, EnvironmentTrouble, Fault, FinetopError, near
from finetop.core.runtime.files import os_error_words
from finetop.core.runtime.home import Home, find_home
from finetop.core.runtime.parts import explain_missing, own_version
from finetop.core.text import SafeWriter, clean_line


class OpenApp(Protocol):
    """Open the app on homes, at a run if one is named; with a chat's settings, in the chat with it that is open."""

    def __call__(self, homes: Sequence[Home], run: str = "", chat: Any = None, /) -> int: ...


# The groups of --help, in order.
GROUPS = ("run", "watch", "check", "fix", "data", "compare", "organise", "maintenance")
# What other programs call each verb.
OTHER_WORDS = {
    **dict.fromkeys(("list", "ps", "stat", "stats", "status", "runs", "history", "jobs"), "ls"),
    **dict.fromkeys(("log", "logs", "follow", "watch", "metrics"), "tail"),
    **dict.fromkeys(("train", "start", "submit", "sft", "finetune", "launch", "new"), "run"),
    **dict.fromkeys(("delete", "del", "remove"), "rm"),
    **dict.fromkeys(("eval", "evaluate", "test", "benchmark", "score"), "check"),
    **dict.fromkeys(("cancel", "end", "abort"), "stop"),
    **dict.fromkeys(("fix", "repair", "merge"), "remedy"),
    **dict.fromkeys(("info", "inspect", "describe", "view", "cat"), "show"),
    **dict.fromkeys(("config", "settings", "recipes"), "recipe"),
    **dict.fromkeys(("continue", "unpause"), "resume"),
    **dict.fromkeys(("restart", "rerun", "again"), "retry"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("validate", "verify"), "lint"),
    **dict.fromkeys(("nvidia-smi", "gpu", "top"), "gpus"),
    **dict.fromkeys(("undo", "restore", "undelete"), "trash"),
    "save": "export",
    "query": "sql",
}


class Help(argparse.HelpFormatter):
    """A help text that breaks lines between words only: options and paths hold hyphens."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(" ".join(text.split()), width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines() if "\n" in text else wrapped(text, width - len(indent))
        return "\n".join(f"{indent}{line}" for line in lines)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are finetop's: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}.", hint=f"See `{self.prog} --help`.")


@cache
def modules() -> dict[str, str]:
    """Return the module of each verb: the files of this folder, and of each feature's `commands`."""
    packages = (str(__package__), *plugins.folders("commands"))
    files = (
        (package, file) for package in packages for file in iter_modules(import_module(package).__path__)
    )
    by_verb = {
        file.name.removesuffix("_"): f"{package}.{file.name}" for package, file in files if not file.ispkg
    }
    del by_verb["main"]
    return by_verb


def verbs() -> list[str]:
    """Return the verbs."""
    return sorted(modules())


def load(verb: str) -> Command:
    """Import the command of a verb."""
    command: Command = import_module(modules()[verb]).PLUGIN
    return command


def main(argv: Sequence[str] | None = None, open_app: OpenApp | None = None) -> int:
    """Run one command. `open_app` opens the app on homes, which is what no verb means."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with explain_missing():
            return dispatch(arguments, open_app)
    except FinetopError as error:
        print(f"finetop: {clean_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not has_folder():
            print("finetop: the current folder no longer exists. cd to one that does.", file=sys.stderr)
            return 4
        if isinstance(error, OSError) and error.filename is not None:
            print(f"finetop: {clean_line(os_error_words(error))}.", file=sys.stderr)
            given = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ENOENT)
            return BadInput.exit_code if error.errno in given else EnvironmentTrouble.exit_code
        traceback.print_exc()
        return Fault.exit_code  # Python's own code is 1, which means a negative answer


def has_folder() -> bool:
    """Return True if the working folder still exists."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return False
    return True


def require_text(arguments: Sequence[str]) -> None:
    """Refuse an argument that is not UTF-8: no message can hold it. Raises BadInput."""
    for argument in arguments:
        if any("\ud800" <= char <= "\udfff" for char in argument):
            shown = argument.encode("utf-8", "replace").decode()[:60]
            raise BadInput(f"{shown!r} is not valid UTF-8.", hint="Rename the file, or give another text.")


def dispatch(arguments: list[str], open_app: OpenApp | None) -> int:
    require_text(arguments)
    where, rest = split_where(arguments)
    if not rest:
        if open_app is None:
            raise BadInput("no command.", hint="See `finetop --help`.")
        return run_app(where, open_app)
    verb = rest[0]
    if verb == "help" and rest[1:] and rest[1] in verbs():
        parser_of(rest[1]).print_help()
        return 0
    if verb in ("-h", "--help", "help") and (verb != "help" or not rest[1:]):
        print_help()
        return 0
    if verb == "help":
        raise BadInput(f"there is no command {rest[1][:60]!r}.", hint=_meant(rest[1][:60]))
    if verb in ("-V", "--version"):
        print(f"finetop {own_version()}")
        return 0
    if verb not in verbs():
        raise BadInput(f"there is no command {verb[:60]!r}.", hint=_meant(verb[:60]))
    command = load(verb)
    parser = parser_of(verb)
    own, theirs = rest[1:], []
    if command.takes_command and "--" in own:
        place = own.index("--")
        own, theirs = own[:place], own[place + 1 :]
    try:
        args = parser.parse_args(own)
    except BadInput as error:
        word = re.match(r"unrecognized arguments: ([^-]\S*)", error.message.removesuffix("."))
        if command.takes_command and word is not None and not theirs and word[1] in own[1:]:
            place = own.index(word[1]) - 1
            command_line = shlex.join([*own[:place], "--", *own[place:]])
            error.hint = f"A program goes after --: finetop {verb} {command_line}."
        elif (option := re.match(r"unrecognized arguments: (--[^\s=]+)", error.message)) is not None:
            known = set(re.findall(r"--[a-z][\w-]+", parser.format_usage()))
            meant = near(option[1].rstrip("."), known)
            error.hint = f"Did you mean {meant}?" if meant else error.hint
        raise
    args.command = theirs
    args.open_app = open_app
    where.home = where.home if args.home is None else args.home
    where.on += args.on
    where.remote_command = args.remote_command or where.remote_command
    if where.on:
        from finetop.core.commands.shared import remote

        with only_safe_output():
            return remote.run_on(command, verb, args, where)
    require_machine(where)
    with only_safe_output():
        return command.run(args, find_home(where.home))


def _meant(word: str) -> str:
    """Return the hint for a word that is not a verb."""
    nearest = near(word, [*verbs(), *OTHER_WORDS])
    verb = OTHER_WORDS.get(nearest, nearest)
    return f"Did you mean {verb}?" if verb else "See `finetop --help` for all of them."


@contextmanager
def only_safe_output() -> Iterator[None]:
    """Filter control sequences from all that a command prints: names, logs and samples are untrusted text."""
    out, err = (cast("IO[str]", SafeWriter(stream)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


def run_app(where: Where, open_app: OpenApp) -> int:
    """Open the app on this machine's home, or on the named machines."""
    if not where.on:
        require_machine(where)
        return open_app([find_home(where.home)])
    from finetop.core.client.remote.connect import open_homes

    with open_homes(where.on, home=where.home, command=where.remote_command, say=False) as homes:
        return open_app(homes)


def require_machine(where: Where) -> None:
    if where.remote_command:
        hint = "Name the machine, or leave it out."
        raise BadInput("--remote-command works only with --on HOST.", hint=hint)


def split_where(arguments: list[str]) -> tuple[Where, list[str]]:
    """Parse `--home DIR`, `--on HOST` and `--remote-command WORDS` before the verb. Raises BadInput."""
    where, rest = Where(), list(arguments)
    while rest and rest[0].partition("=")[0] in ("--home", "--on", "--remote-command"):
        option, is_joined, value = rest.pop(0).partition("=")
        if not is_joined:
            if not rest:
                raise BadInput(f"{option}: a value is missing.", hint="See `finetop --help`.")
            value = rest.pop(0)
        if option == "--on":
            where.on.append(value)
        elif option == "--home":
            where.home = value
        else:
            where.remote_command = value
    return where, rest


def parser_of(verb: str) -> argparse.ArgumentParser:
    command = load(verb)
    parser = Parser(
        prog=f"finetop {verb}", description=command.about, allow_abbrev=False, formatter_class=Help
    )
    add_arguments(parser, command)
    return parser


def add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    command.arguments(parser)
    options.flag(parser, "--json", "print JSON (one object per line when streaming)")
    options.value(parser, "--home", "DIR", "home folder (default: FINETOP_HOME, else ~/.finetop)")
    about = (
        "on another machine, through ssh: user@host or a name of hosts.yaml; repeatable; . is this machine"
    )
    options.repeated(parser, "--on", "HOST", about)
    about = "path of finetop on that machine, if it is not on PATH: '~/venv/bin/finetop'"
    options.optional(parser, "--remote-command", "WORDS", about)


def print_help() -> None:
    print("finetop: fine-tune language models and prove whether they forgot.\n")
    print("  finetop                the app")
    print("  finetop --on HOST      the app on another machine's runs, over ssh (repeat for more)")
    commands = {verb: load(verb) for verb in verbs()}
    groups = {command.group for command in commands.values()}
    for group in sorted(groups, key=lambda group: (GROUPS.index(group) if group in GROUPS else 99, group)):
        print(f"\n{group}")
        for verb, command in commands.items():
            if group == command.group:
                about = fill(
                    command.about,
                    78,
                    initial_indent=f"  {verb:<12} ",
                    subsequent_indent=" " * 15,
                    break_on_hyphens=False,
                )
                print(about)
    print("\nAll accept --json, --home DIR and --help; those that show or change runs also --on HOST.")
    print("Exit codes: 0 done, 1 a negative answer, 2 bad input, 3 no verdict, 4 the environment.")


def whole_parser() -> argparse.ArgumentParser:
    """Return one parser with all verbs as subparsers, for shell completion."""
    parser = argparse.ArgumentParser(prog="finetop")
    parser.add_argument("--home", metavar="DIR")
    parser.add_argument("--on", action="append", metavar="HOST")
    below = parser.add_subparsers(dest="verb")
    for verb in verbs():
        command = load(verb)
        add_arguments(below.add_parser(verb, help=command.about), command)
    return parser
