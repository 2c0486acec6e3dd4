"""`finetop run RECIPE`: queue a run; --wait follows it to its verdict."""

from __future__ import annotations

import argparse

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands.follow import Progress, exit_code, until_over
from finetop.core.commands.output import answer_words, plain, print_json, state_words
from finetop.core.home import Home
from finetop.core.recipe.load import check_files, load_recipe

ABOUT = "queue a run of a recipe"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a built-in recipe's name, or a .yaml file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting: train.learning_rate=1e-4",
    )
    parser.add_argument("--name", help="the run's name (else the recipe's)")
    parser.add_argument(
        "--wait", action="store_true", help="follow it to its verdict; the exit code is the answer"
    )


def run(args: argparse.Namespace, home: Home) -> int:
    loaded = load_recipe(args.recipe, [*args.set, *([f"name={args.name}"] if args.name else [])])
    check_files(loaded)
    with Client(home) as client:
        queued: protocol.SubmitAnswer = client.ask(
            protocol.Submit(loaded.resolved, loaded.text, loaded.recipe.name)
        )
    if not args.wait:
        if args.json:
            print_json({"run": queued.name, "run_id": queued.run_id, "place": queued.place})
        else:
            print(f"{queued.name} is queued, place {queued.place}. Follow it: finetop tail {queued.name}")
        return 0
    last = until_over(home, queued.name, (lambda new: None) if args.json else Progress())
    if args.json:
        print_json({"run": plain(last)})
    else:
        print(f"{last.name}: {state_words(last)}  {answer_words(last)}".rstrip())
        hint = getattr(last.state, "hint", "")
        if hint:
            print(hint)
    return exit_code(last)
