"""Options that several verbs have, and parsers of RUN@STEP, whole numbers and durations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput


def run_and_step(text: str) -> tuple[str, int | None]:
    """Split RUN@STEP. Raises BadInput for a step that is not a number."""
    name, at, step = text.partition("@")
    if at and not (step.isdecimal() and len(step) < 10):
        raise BadInput(f"{text}: {step!r} is not a step.", hint="Try RUN@120.")
    return name, int(step) if at else None


def a_path(text: str) -> str:
    """Read a path, or a name that may be a path. Raises ArgumentTypeError if it is empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty (an unset shell variable?)")
    return text


MOST = 2**31 - 1  # the largest count in a request


def count(text: str) -> int:
    """Parse a whole number, 1 or more. Raises ArgumentTypeError."""
    return _whole(text, 1)


def count_or_none(text: str) -> int:
    """Parse a whole number, 0 or more. Raises ArgumentTypeError."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= MOST):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {MOST}")
    return int(text)


def flag(parser: argparse._ActionsContainer, name: str, about: str) -> None:
    """Add an option without a value."""
    parser.add_argument(name, action="store_true", help=about)


def repeated(parser: argparse._ActionsContainer, name: str, value: str, about: str, **more: Any) -> None:
    """Add an option that may come again."""
    parser.add_argument(name, action="append", default=[], metavar=value, help=about, **more)


def value(parser: argparse._ActionsContainer, name: str, metavar: str, about: str, **more: Any) -> None:
    """Add an option with a value, or an argument."""
    parser.add_argument(name, metavar=metavar, help=about, **more)


def optional(parser: argparse.ArgumentParser, name: str, metavar: str, about: str) -> None:
    """Add an option with a text, or an argument that may be left out: empty without it."""
    more = {} if name.startswith("-") else {"nargs": "?"}
    value(parser, name, metavar, about, default="", **more)


def choice(parser: argparse.ArgumentParser, name: str, choices: Sequence[str], about: str) -> None:
    """Add an option with a fixed set of values, of which the first is the default."""
    parser.add_argument(name, choices=choices, default=choices[0], help=about)


def path(parser: argparse._ActionsContainer, name: str, metavar: str, about: str, **more: Any) -> None:
    """Add a path, or a name that may be one: see `a_path`."""
    value(parser, name, metavar, about, type=a_path, **more)


def name(parser: argparse.ArgumentParser, of: str) -> None:
    """Add --name NAME, in place of the recipe's: see `name_set`."""
    parser.add_argument("--name", help=f"{of} (default: the recipe's)")


def name_set(args: argparse.Namespace) -> list[str]:
    """Return --name as a setting of the recipe, where it is given. Raises BadInput."""
    from finetop.core.recipe.names import check_name

    return [] if args.name is None else [f'name="{check_name(args.name, "--name")}"']


def of_command(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of another program's training, as a group of their own, which is returned."""
    group = parser.add_argument_group("of another program's training")
    path(group, "--output", "DIR", "folder that it writes its model to (default: its own --output_dir)")
    path(group, "--base", "ID|FOLDER", "the model that it tunes (default: the one that its adapter names)")
    repeated(
        group,
        "--metrics",
        "KIND[:PATH]|pattern:REGEX",
        "where its numbers come from; repeatable (default: auto)",
    )
    return group


def queueing(parser: argparse.ArgumentParser) -> None:
    """Add --hold and --priority."""
    flag(parser, "--hold", "hold it until `finetop queue release`")
    about = "high, normal, low or a number; smaller starts first"
    value(parser, "--priority", "P", about, default="normal")


def settings(parser: argparse.ArgumentParser, about: str) -> None:
    """Add --set KEY=VALUE, repeatable."""
    repeated(parser, "--set", "KEY=VALUE", about)


def columns(parser: argparse.ArgumentParser) -> None:
    """Add --columns TEXT, for files given without a recipe."""
    about = "as in a recipe: 'columns: {prompt: question}, labels: {0: no, 1: yes}'"
    value(parser, "--columns", "TEXT", about)


def columns_of(text: str | None) -> dict[str, Any]:
    """Return --columns as settings of a source of rows. Raises BadInput."""
    if text is None:
        return {}
    from finetop.core.recipe.columns import ColumnSettings, problems
    from finetop.core.recipe.strict_yaml import Origin, parse
    from finetop.core.recipe.validate import read_as

    root = parse("{" + text + "}", Origin("--columns", Path.cwd()), numbered=False)
    named = read_as(root, ColumnSettings, "--columns")
    for _, message, hint in problems(named.columns, named.labels, "--columns"):
        raise BadInput(message, hint=hint)
    return {"columns": named.columns, "labels": named.labels}


def limit(parser: argparse.ArgumentParser, rows: int) -> None:
    """Add --limit N."""
    value(parser, "--limit", "N", "at most this many rows", type=count, default=rows)


def wait(parser: argparse.ArgumentParser) -> None:
    """Add --wait, which follows a run to its verdict."""
    flag(parser, "--wait", "follow it to its verdict, which is the exit code")


def yes(parser: argparse.ArgumentParser) -> None:
    """Add --yes: see `output.agreed`."""
    flag(parser, "--yes", "do not ask for confirmation")


def seconds(text: str) -> float:
    """Parse a duration in seconds, above 0 and up to an hour. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of seconds above 0 and up to 3600")
    return value
