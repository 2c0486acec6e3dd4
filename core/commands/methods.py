"""`finetop methods [NAME]`: list methods, objectives, protections and other trainers; or all settings of one."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, print_table
from finetop.core.commands.shared.settings import print_settings
from finetop.core.external import sources, trainers
from finetop.core.recipe.fields import fields_of_plugin
from finetop.core.recipe.find import list_builtin, list_chains
from finetop.core.runtime.home import Home
from finetop.core.train import methods, objectives, protections


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "name", "NAME", "every setting of this method, objective or protection", nargs="?")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.name is not None:
        return print_plugin(args.name, args.json)
    method_rows = [(name, methods.load(name).about) for name in methods.names()]
    quantized = {name: list(methods.load(name).quantized) for name in methods.names()}
    protection_rows = [(name, protections.load(name).about) for name in protections.names()]
    objective_rows = [(name, objectives.load(name).about) for name in objectives.names()]
    trainer_rows = [(name, trainers.load(name).about) for name in trainers.names()]
    source_rows = [(name, sources.load(name).about) for name in sources.names()]
    recipes = [(recipe.name, recipe.about) for recipe in (*list_builtin(), *list_chains())]
    if args.json:
        trained = {"methods": dict(method_rows), "model.quantize": quantized}
        kinds = {"objectives": objective_rows, "protections": protection_rows, "recipes": recipes}
        of_others = {"trainers": trainer_rows, "metrics": source_rows}
        print_json({**trained, **{kind: dict(rows) for kind, rows in {**kinds, **of_others}.items()}})
        return 0
    rows = [(name, " ".join(quantized[name]), about) for name, about in method_rows]
    print_table(("method", "model.quantize", "which weights are trained"), rows)
    print()
    print_table(("objective", "the training objective"), objective_rows)
    print()
    print_table(("protect", "reduces forgetting during training"), protection_rows)
    print()
    print_table(("recipe", "built in: finetop run RECIPE"), recipes)
    print()
    print_table(("trainer", "another program: finetop run --with TRAINER CONFIG"), trainer_rows)
    print()
    print_table(("metrics", "where another program's numbers come from (auto: all of them)"), source_rows)
    return 0


def print_plugin(name: str, json: bool) -> int:
    """Print every setting of the method, objective or protection of this name. Raises NotFound."""
    known = fields_of_plugin(name)
    if json:
        shown = {kind: {"about": about, "settings": plain(own)} for kind, (about, own) in known.items()}
        print_json({"name": name, **shown})
        return 0
    for kind, (about, own) in known.items():
        print(f"{kind} {name}: {about}")
        print_settings(own)
    return 0


ABOUT = "list methods, objectives, protections, built-in recipes and other trainers"
PLUGIN = Command(ABOUT, "run", run, arguments, is_remote=False)
