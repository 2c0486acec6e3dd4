"""`finetop demo`: the whole story, small. One run that learns and remembers, one that learns and forgets.

Nothing is preset: both runs are queued from their recipes, trained and checked here, and what comes out is said,
also when it isn't what was expected.
"""

from __future__ import annotations

import argparse
import sys

from finetop.core.client.connection import Client
from finetop.core.commands.shared.follow import Progress, until_over
from finetop.core.commands.shared.output import number, plain, print_json, print_table, state_words
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import read
from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import check_files, load_recipe
from finetop.core.runtime.home import Home
from finetop.core.wording.verdicts import report, short_answer

ABOUT = "the whole story in small: one run remembers, one forgets"
GROUP = "keep house"

RECIPES = ("demo-lora", "demo-full-hot")
EXPECTED = {"demo-lora": "ok", "demo-full-hot": "regressed"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, help="seed of both runs (else the recipes')")
    parser.add_argument("--no-app", action="store_true", help="print lines even in a terminal")


def run(args: argparse.Namespace, home: Home) -> int:
    names = queue(home, args.seed)
    if (
        args.open_app is not None
        and not (args.no_app or args.json)
        and sys.stdin.isatty()
        and sys.stdout.isatty()
    ):
        return int(args.open_app([home]))
    if not args.json:
        print(
            f"Two runs are queued in {home.root}: they keep running if you leave; `finetop` opens the app on them."
        )
    rows = []
    for recipe, name in names.items():
        show = (lambda new: None) if args.json else Progress(f"{name}  ")
        rows.append((recipe, until_over(home, name, show)))
    checks = [newest_check(home, row.name) for _, row in rows]
    if args.json:
        print_json({"runs": plain([row for _, row in rows]), "checks": checks})
    else:
        tell(rows, checks)
    return 0 if all(as_expected(recipe, row) for recipe, row in rows) else 1


def queue(home: Home, seed: int | None) -> dict[str, str]:
    """Queue both runs. Returns the recipe's name -> the run's name."""
    sets = [] if seed is None else [f"train.seed={seed}"]
    loaded = [load_recipe(name, sets) for name in RECIPES]
    for recipe in loaded:
        check_files(recipe)
    names = {}
    with Client(home) as client:
        for name, recipe in zip(RECIPES, loaded, strict=True):
            answer = client.ask(Submit(recipe.resolved, recipe.text, recipe.recipe.name))
            names[name] = answer.name
    return names


def newest_check(home: Home, name: str) -> dict[str, object] | None:
    with Client(home) as client:
        found: list[dict[str, object]] = client.ask(Checks(name)).checks
    return found[0] if found else None


def as_expected(recipe: str, row: data.RunRow) -> bool:
    return row.check is not None and row.check.verdict == EXPECTED[recipe]


def tell(rows: list[tuple[str, data.RunRow]], checks: list[dict[str, object] | None]) -> None:
    for (_, row), check in zip(rows, checks, strict=True):
        print()
        if check is None:
            print(f"{row.name}: {state_words(row)}, no check. {getattr(row.state, 'hint', '')}".rstrip())
        else:
            print(report(row.name, read(check)))
    print()
    print_table(
        ("run", "how", "target, nats/token", "target, style", "did it forget?"), [line(r) for _, r in rows]
    )
    print()
    for recipe, row in rows:
        print(verdict_line(recipe, row))
    worst = next((row.name for _, row in rows if row.check and row.check.verdict == "regressed"), None)
    if worst:
        print(f"\nnext: finetop flips {worst}    the items it lost, both answers")


def line(row: data.RunRow) -> tuple[str, ...]:
    target = row.check.target if row.check else {}
    loss = target.get("nats_per_token", [None, None])
    rules = target.get("rules", [None, None])
    return (
        row.name,
        row.method,
        f"{number(loss[0], 2)} -> {number(loss[1], 2)}",
        f"{number(rules[0], 2)} -> {number(rules[1], 2)}",
        short_answer(row.check) if row.check else state_words(row),
    )


def verdict_line(recipe: str, row: data.RunRow) -> str:
    hope = {"ok": "to learn and remember", "regressed": "to forget"}[EXPECTED[recipe]]
    if as_expected(recipe, row):
        return f"✓ {row.name} was made {hope}, and did."
    came = row.check.verdict.replace("_", " ") if row.check else state_words(row)
    return f"✗ {row.name} was made {hope}. It came out otherwise: {came}."
