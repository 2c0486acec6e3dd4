"""`finetop methods`: which weights can move, what they can learn from, and what can protect what they know."""

from __future__ import annotations

import argparse

from finetop.core.commands.shared.output import print_json, print_table
from finetop.core.recipe.find import list_builtin, list_chains
from finetop.core.runtime.home import Home
from finetop.core.train import methods, objectives, protections

ABOUT = "which weights can move, what they learn from, built-in recipes"


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, home: Home) -> int:
    moves = [(name, methods.load(name).ABOUT) for name in methods.names()]
    goes_on = {name: " ".join(methods.load(name).QUANTIZED) for name in methods.names()}
    protects = [(name, protections.load(name).ABOUT) for name in protections.names()]
    learns = [(name, objectives.load(name).ABOUT) for name in objectives.names()]
    recipes = [(recipe.name, recipe.about) for recipe in (*list_builtin(), *list_chains())]
    if args.json:
        print_json(
            {
                "methods": dict(moves),
                "model.quantize": {name: list(methods.load(name).QUANTIZED) for name in methods.names()},
                "objectives": dict(learns),
                "protections": dict(protects),
                "recipes": dict(recipes),
            }
        )
        return 0
    rows = [(name, goes_on[name], about) for name, about in moves]
    print_table(("method", "model.quantize", "which weights move"), rows)
    print()
    print_table(("objective", "what they learn from"), learns)
    print()
    print_table(("protect", "against forgetting, in training"), protects)
    print()
    print_table(("recipe", "built in: finetop run RECIPE"), recipes)
    return 0
