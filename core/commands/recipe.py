"""`finetop recipe [SECTION]`: every setting of a recipe, with its default, the values it takes and what it means."""

from __future__ import annotations

import argparse

from finetop.core.commands.shared.output import print_json, print_table
from finetop.core.commands.shared.settings import as_json, page, print_settings
from finetop.core.recipe.fields import fields_of_section, sections
from finetop.core.runtime.home import Home

ABOUT = "every setting of a recipe: default, values, meaning"
GROUP = "run"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "section", nargs="?", metavar="SECTION", help="a section or a setting: train, check.target, data.eval"
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="all of it, those of the methods and objectives too, as a page",
    )


def run(args: argparse.Namespace, home: Home) -> int:
    chosen = list(sections()) if args.section is None else [args.section]
    if args.markdown:
        print(page(), end="")
    elif args.json:
        print_json({"settings": [as_json(field) for key in chosen for field in fields_of_section(key)]})
    elif args.section is None:
        print_table(("section", "what it says"), list(sections().items()))
        print("\nSettings of one: finetop recipe train; of a method or objective: finetop methods lora")
    else:
        print_settings(fields_of_section(args.section))
    return 0
