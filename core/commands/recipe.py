"""`finetop recipe [SECTION|RECIPE]`: list all settings; or print a recipe as it will run, with each value's source."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, print_table, warn
from finetop.core.commands.shared.settings import page, print_settings
from finetop.core.errors import BadInput, NotFound, RecipeError, near
from finetop.core.protocol.runs import UNKNOWN
from finetop.core.recipe.fields import Field, fields, fields_of_section, sections
from finetop.core.recipe.find import BUILTIN, by_name, list_builtin, list_chains, looks_like_path
from finetop.core.recipe.load import Loaded, load_recipe
from finetop.core.recipe.stages import load_chain
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, float_words, plain as shown

ABOUT = "print all settings, or a recipe as it will run, with the source of each value"
DEFAULT = "default"
Setting = tuple[str, Any, str]  # dotted key, value, source


def arguments(parser: argparse.ArgumentParser) -> None:
    about = "a section or a setting (train, check.target), a built-in recipe's name, or a .yaml file"
    options.path(parser, "what", "SECTION|RECIPE", about, nargs="?")
    options.settings(parser, "change one setting of the recipe: train.epochs=3")
    options.flag(parser, "--all", "with a recipe: include settings at their default")
    options.flag(parser, "--markdown", "the whole reference as Markdown, methods and objectives included")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.what is not None and is_recipe(args.what):
        try:
            return show_recipe(args)
        except RecipeError as error:
            if not error.every:
                raise
            for fault in error.every:
                warn(clean_line(fault))
            return error.exit_code
    if args.set or args.all:
        hint = "Name a recipe too: finetop recipe lora --set train.epochs=3"
        raise BadInput(f"{'--set' if args.set else '--all'} works only with a recipe.", hint=hint)
    chosen = list(sections()) if args.what is None else [args.what]
    if args.markdown:
        print(page(), end="")
    elif args.json:
        print_json({"settings": [plain(field) for key in chosen for field in settings_at(key)]})
    elif args.what is None:
        print_table(("section", "contents"), list(sections().items()))
        print("\nSettings of one: finetop recipe train; of a method or objective: finetop methods lora")
        print("A recipe as it will run, and where each value comes from: finetop recipe my.yaml")
    else:
        print_settings(settings_at(args.what))
        if args.what in builtin_names():
            print(f"\nThe built-in recipe of that name: finetop recipe {BUILTIN}{args.what}")
    return 0


def is_recipe(text: str) -> bool:
    """Return True for a recipe; a name that is both means the section, `builtin:NAME` and `./NAME` are recipes."""
    if looks_like_path(text) or text.startswith(BUILTIN):
        return True
    return text not in sections() and (text in builtin_names() or Path(text).is_file())


def builtin_names() -> list[str]:
    return [recipe.name for recipe in (*list_builtin(), *list_chains())]


def settings_at(key: str) -> tuple[Field, ...]:
    """Return the settings of a section. Raises NotFound that suggests a section, setting or recipe."""
    try:
        return fields_of_section(key)
    except NotFound as error:
        if error.hint.startswith(("Did you mean", "See")):
            raise
        name = near(key[:60], builtin_names())
        all_of_them = "See `finetop recipe` for the sections, `finetop methods` for the recipes."
        hint = f"Did you mean {name}?" if name else all_of_them
        what = f"section, setting or built-in recipe {shown(key[:60])!r}"
        raise NotFound(f"there is no {what}.", hint=hint) from error


def show_recipe(args: argparse.Namespace) -> int:
    """Print a recipe, or each stage of a chain, as it will run."""
    chain = load_chain(args.what, args.set)
    if chain is None:
        parts = [("", load_recipe(args.what, args.set))]
    else:
        parts = [(stage.name, stage.loaded) for stage in chain.stages]
    if args.json:
        documents: list[dict[str, object]] = []
        for name, loaded in parts:
            sources = {key: source for key, _, source in chosen_settings(loaded, all_of_it=args.all)}
            stage = {"stage": name} if name else {}
            documents.append({**stage, "recipe": loaded.resolved, "from": sources})
        print_json(documents[0] if chain is None else {"stages": documents})
        return 0
    for number, (name, loaded) in enumerate(parts):
        if number:
            print("---")
        print(f"# {f'stage {name} of ' if name else ''}{' extends '.join(loaded.chain)}")
        print(*as_yaml(chosen_settings(loaded, all_of_it=args.all)), sep="\n")
    return 0


def chosen_settings(loaded: Loaded, *, all_of_it: bool) -> list[Setting]:
    return [setting for setting in settings_of(loaded) if all_of_it or setting[2] != DEFAULT]


# --- a recipe as it will run ----------------------------------------------------------------------------------


def settings_of(loaded: Loaded) -> list[Setting]:
    """Return each setting of a recipe with value and source.

    A source is `faq.yaml:5`, `extends lora`, `--set`, `default`, or what implies it: `from the file's name`.
    """
    recipe, of_command = loaded.recipe, {"method.name", "objective.name"}
    if recipe.command is None:
        known = {field.key for field in fields(recipe.method.name, recipe.objective.name)}
        of_command = set()
    else:  # it brings its method, its objective and an unknown base
        known = {field.key for field in fields()}
        of_command |= {"model.id"} if recipe.model.id == UNKNOWN else set()
    return [
        (key, value, _source(loaded, key))
        for key, value in _leaves(by_name(loaded.resolved), "", known)
        if key not in ("extends", *of_command)  # the recipe it extends is merged in already
    ]


def _leaves(value: Any, key: str, known: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield a resolved recipe's settings; a mapping or list that is the value of one setting stays whole."""
    plain_key = re.sub(r"\[\d+\]", "[]", key)
    below = any(name.startswith((f"{plain_key}.", f"{plain_key}[")) for name in known)
    if isinstance(value, dict) and (not key or below):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name, known)
    elif isinstance(value, list) and below and value:
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{key}[{at}]", known)
    else:
        yield key, value


def _source(loaded: Loaded, key: str) -> str:
    place = loaded.places.get(key)
    if place is None:
        return DEFAULT
    if key in loaded.implied:
        return loaded.implied[key]
    label = re.sub(r":\d+$", "", place)
    if label.startswith(BUILTIN) and label != loaded.chain[0]:
        return f"extends {label.removeprefix(BUILTIN).removesuffix('.yaml')}"
    return place


def as_yaml(settings: list[Setting]) -> Iterator[str]:
    """Yield settings as the lines of a recipe, each with its source as a comment."""
    tree: dict[str, Any] = {}
    for key, value, source in settings:
        *above, last = re.findall(r"[^.\[\]]+", key)
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = (value, source)
    lists = {re.sub(r"\[\d+\].*", "", key) for key, _, _ in settings if "[" in key}
    yield from _block(tree, "", "", lists)


def _block(tree: Mapping[str, Any], key: str, indent: str, lists: set[str]) -> Iterator[str]:
    for name, content in tree.items():
        child = f"{key}.{name}" if key else name
        if isinstance(content, tuple):
            yield f"{indent}{name}: {_inline(content[0])}  # {content[1]}"
        elif child in lists:
            yield f"{indent}{name}:"
            for at, item in content.items():
                first, *rest = _block(item, f"{child}[{at}]", f"{indent}    ", lists)
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
        else:
            yield f"{indent}{name}:"
            yield from _block(content, child, f"{indent}  ", lists)


def _inline(value: Any) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, float):
        return float_words(value)
    import yaml

    text: str = yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True)
    return text.strip()[1:-1]


PLUGIN = Command(ABOUT, "run", run, arguments, is_remote=False)
