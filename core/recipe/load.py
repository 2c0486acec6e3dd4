"""Load a recipe: strict YAML, the recipes it extends, --set on top, validated and with every default filled in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import NotFound, RecipeError
from finetop.core.plugins import ALARMS, METHODS, OBJECTIVES, PROTECTIONS, PluginKind
from finetop.core.protocol.runs import COMMAND, UNKNOWN
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.find import find_recipe, near_file, origin_of, read_text
from finetop.core.recipe.merge import apply_sets, merge_recipes
from finetop.core.recipe.schema import VERSION, Recipe
from finetop.core.recipe.strict_yaml import Node, Origin, from_plain, parse
from finetop.core.recipe.validate import read_recipe
from finetop.core.runtime import secrets
from finetop.core.runtime.files import is_pattern
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from finetop.core.plugins import MethodFacts, ObjectiveFacts

STAGES = "stages"  # the key of a chain: core/recipe/stages.py
MAX_EXTENDS = 8
# (path, whether it is a folder; None: either) -> (what is wrong with it, hint)
FileCheck = Callable[[Path, bool | None], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe as it will run, and where it came from.

    `resolved` has every default and is plain data for JSON; `places` maps each dotted key that was written to its
    file:line; `chain` names the files from the recipe itself to the last one it extends. Of those `places`, `implied`
    are the ones that nobody wrote: what each follows from.
    """

    recipe: Recipe
    text: str
    path: Path | None
    resolved: dict[str, Any]
    places: Mapping[str, str]
    chain: tuple[str, ...]
    implied: Mapping[str, str]


def load_recipe(path_or_name: str, sets: Sequence[str] = (), cwd: Path | None = None) -> Loaded:
    """Load a recipe by a built-in name or by path (from `cwd`), with `--set` texts applied.

    Data files are not checked: see check_files. Raises NotFound if there is no such recipe, and RecipeError
    with the first problem and the number of others.
    """
    cwd = Path.cwd() if cwd is None else cwd
    path = find_recipe(path_or_name, cwd)
    origin = origin_of(path, cwd)
    text = read_text(path, origin.label)
    return load_root(parse(text, origin), text, path, sets, cwd)


def resolve_text(
    text: str,
    sets: Sequence[str] = (),
    cwd: Path | None = None,
    *,
    label: str = "recipe",
    to_train: bool = True,  # False if nothing is trained: see recipe_from_mapping
) -> Loaded:
    """Load a recipe from text that is not (yet) a file; paths start from `cwd`. Raises RecipeError."""
    cwd = Path.cwd() if cwd is None else cwd
    return load_root(parse(text, Origin(label, cwd)), text, None, sets, cwd, to_train=to_train)


def find_problems(text: str, sets: Sequence[str] = (), cwd: Path | None = None) -> list[RecipeError]:
    """Return everything that is wrong with a recipe's text, for a form that shows each problem beside its field."""
    cwd = Path.cwd() if cwd is None else cwd
    try:
        root, _ = _merged_with_parents(parse(text, Origin("recipe", cwd)), None, sets, cwd)
    except RecipeError as error:
        return [error]
    return read_recipe(root)[1]


def check_files(loaded: Loaded, check_path: FileCheck | None = None) -> None:
    """Require that the files a run needs exist; `check_path` checks one. Raises RecipeError with its line."""
    _raise_first(list(file_problems(loaded, check_path or file_problem)))


def recipe_to_mapping(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data for JSON in the shape of its YAML, every default included."""
    mapping: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))  # tuples become lists
    for section in ("method", "objective"):
        mapping[section] = {"name": mapping[section]["name"], **mapping[section]["options"]}
    return mapping


def recipe_from_mapping(
    mapping: Mapping[str, Any], place: str = "the recipe", *, to_train: bool = True
) -> Recipe:
    """Return the recipe from recipe_to_mapping's data, validated as strictly as a file. Raises RecipeError.

    `place` names it in errors. `to_train` is False if nothing is trained: a check may load quantized weights that can't
    be trained, and a model made elsewhere may have an unknown method and objective.
    """
    try:
        root = expand_short_forms(checked_root(from_plain(mapping, Origin(place, Path.cwd()))))
    except RecursionError as error:
        raise RecipeError("is nested too deeply.", place=place) from error
    recipe, problems, *_ = read_recipe(root, to_train=to_train)
    _raise_first(problems)
    assert recipe is not None
    return recipe


def recipe_from_resolved(mapping: Mapping[str, Any], place: str = "the recipe") -> Recipe:
    """Return the recipe of a mapping that was validated when it came in: its types are checked, its rules are not.

    What does not convert is read like a file, which names the fault. Raises RecipeError.
    """
    try:
        method, objective = _choice(mapping["method"], METHODS), _choice(mapping["objective"], OBJECTIVES)
        return msgspec.convert({**mapping, "method": method, "objective": objective}, Recipe)
    except (msgspec.ValidationError, KeyError, RecursionError, TypeError, ValueError):
        return recipe_from_mapping(mapping, place, to_train=False)


def _choice(
    section: Mapping[str, Any], kind: PluginKind[MethodFacts[Any]] | PluginKind[ObjectiveFacts[Any]]
) -> dict[str, Any]:
    """Return a method or an objective as the schema has it; options of one that is none of ours stay plain."""
    name, options = section["name"], {key: value for key, value in section.items() if key != "name"}
    try:
        return {"name": name, "options": msgspec.convert(options, kind.load(name).options)}
    except NotFound:
        return {"name": name, "options": options}


def load_root(
    root: Node, text: str, path: Path | None, sets: Sequence[str], cwd: Path, *, to_train: bool = True
) -> Loaded:
    """Load a recipe that is parsed already, as a chain's stage is; `text` is its source. Raises RecipeError."""
    if (secret := secrets.locate(text)) is not None:
        message = f"holds {secret.what}, which is not kept with a run."
        raise RecipeError(message, place=root.origin.at(secret.line), hint=secrets.HINT)
    root, chain = _merged_with_parents(root, path, sets, cwd)
    recipe, problems, places, implied = read_recipe(root, to_train=to_train)
    command = [] if path is None else ["finetop", "recipe", origin_of(path, cwd).label]
    command += [f"--set={text}" for text in sets] if command else []
    _raise_first(problems, shlex.join(command))
    assert recipe is not None
    return Loaded(recipe, text, path, recipe_to_mapping(recipe), places, chain, implied)


def _merged_with_parents(
    root: Node, path: Path | None, sets: Sequence[str], cwd: Path
) -> tuple[Node, tuple[str, ...]]:
    """Merge a recipe with all it extends, and apply --set."""
    layers = [_named(checked_root(root), path)]
    seen = {path}
    while extends := layers[-1].settings.get("extends"):
        if extends.value is None:
            break
        path = parent_of(extends, seen)
        seen.add(path)
        parent = origin_of(path, cwd)
        layers.append(checked_root(parse(read_text(path, parent.label), parent)))
    merged = layers[-1]
    for layer in reversed(layers[:-1]):
        merged = merge_recipes(expand_short_forms(merged), layer)
    chain = tuple(layer.origin.label for layer in layers)
    return expand_short_forms(apply_sets(_with_command(merged), sets, cwd)), chain


def parent_of(extends: Node, seen: Collection[Path | None]) -> Path:
    """Return the file that a recipe extends; `seen` are the files on the way to it. Raises RecipeError."""
    path = _extended(extends)
    if path in seen or len(seen) >= MAX_EXTENDS:
        why = "is circular" if path in seen else f"goes deeper than {MAX_EXTENDS} recipes"
        hint = "Extend another recipe."
        raise RecipeError(f"extends {why}.", place=extends.place, key="extends", hint=hint)
    return path


def _extended(extends: Node) -> Path:
    name = extends.value
    if not isinstance(name, str):
        hint = "Name a built-in recipe (lora), or the path of one (./base.yaml)."
        raise RecipeError(f"extends is {quoted(name)}.", place=extends.place, key="extends", hint=hint)
    try:
        return find_recipe(name, extends.origin.folder)
    except NotFound as error:
        message = f"extends: {error.message}"
        raise RecipeError(message, place=extends.place, key="extends", hint=error.hint) from error


def checked_root(root: Node) -> Node:
    """Require that a document is a mapping of the version that this program reads."""
    settings = root.value
    hint = f"Write `recipe: {VERSION}` on the first line."
    if not isinstance(settings, dict):
        message = f"a recipe is a mapping of sections; this is {quoted(settings)}."
        raise RecipeError(message, place=root.place, hint=hint)
    if "recipe" not in settings:
        raise RecipeError("no version.", place=root.place, key="recipe", hint=hint)
    version = settings["recipe"]
    if version.value != VERSION or isinstance(version.value, bool):
        message = f"recipe is {quoted(version.value)}; this finetop reads version {VERSION}."
        raise RecipeError(message, place=version.place, key="recipe", hint=hint)
    if STAGES in settings:
        problem = "this is a chain of runs; a recipe for a single run is needed here."
        hint = "`finetop run`, `plan`, `recipe` and `lint` take chains. Here, pass the recipe of one stage."
        raise RecipeError(f"{STAGES}: {problem}", place=settings[STAGES].place, key=STAGES, hint=hint)
    return root


def _named(root: Node, path: Path | None) -> Node:
    """Name a recipe after its file if it has no name."""
    name = Node("unnamed" if path is None else path.stem, root.origin, 0, "from the file's name")
    return root.with_value({"name": name, **root.settings})


def _raise_first(problems: list[RecipeError], command: str = "") -> None:
    """Raise the first problem, with the others; `command` prints all of them."""
    if not problems:
        return
    first, *others = problems
    if others:
        see = f", see `{command}`" if command else ""
        first.every = tuple(map(str, problems))
        first.hint = f"{first.hint} (and {len(others)} more{see})".strip()
    raise first


def file_problems(loaded: Loaded, check_path: FileCheck) -> Iterator[RecipeError]:
    """Yield what is wrong with the files that a recipe names, or that it names no data."""
    recipe = loaded.recipe
    if not recipe.data.train and recipe.command is None:
        hint = "Set it in the recipe, or with --set 'data.train=[{path: train.jsonl}]'."
        message = "data.train is not set: there are no rows to train on."
        yield RecipeError(message, place=loaded.chain[0], key="data.train", hint=hint)
    for key, path, is_folder in paths_of(recipe):
        problem, hint = check_path(Path(path), is_folder)
        if problem:
            place = loaded.places.get(key, loaded.chain[0])
            yield RecipeError(f"{key}: {problem}", place=place, key=key, hint=hint)


def paths_of(recipe: Recipe) -> Iterator[tuple[str, str, bool | None]]:
    """Yield the files and folders that a recipe names: key, path, whether it is a folder (None: either)."""
    sources = [(f"data.train[{i}]", source) for i, source in enumerate(recipe.data.train)]
    if isinstance(recipe.data.eval, tuple):
        sources += [(f"data.eval[{i}]", source) for i, source in enumerate(recipe.data.eval)]
    for key, source in sources:
        if source.path is not None:
            yield _rows(f"{key}.path", source.path)
        elif source.id is not None and Path(source.id).is_absolute():
            yield f"{key}.id", source.id, True
    if recipe.command is not None:
        yield "command.workdir", recipe.command.workdir, True
    if recipe.check.target is not None:
        yield _rows("check.target.path", recipe.check.target.path)
    if recipe.model.chat_template is not None:
        yield "model.chat_template", recipe.model.chat_template, False
    if Path(recipe.model.id).is_absolute():
        yield "model.id", recipe.model.id, True
    yield from _texts("ask.documents", recipe.ask.documents)
    if (update := recipe.approaches.update) is not None:
        yield from _texts("approaches.update.documents", update.documents)
        for i, source in enumerate(update.train):
            if source.path is not None:
                yield _rows(f"approaches.update.train[{i}].path", source.path)
        yield _rows("approaches.update.test", update.test)
    for key, path in recipe_protections.paths(recipe):
        yield _rows(key, path)


def _rows(key: str, text: str) -> tuple[str, str, bool | None]:
    """Return the path to check for rows: a file or a folder of them, or the folder that a pattern searches."""
    path = Path(text)
    if is_pattern(path):
        return key, str(path.parent), True
    return key, text, path.is_dir() if path.exists() else None


def _texts(key: str, paths: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield documents, each a file or a folder; the kind of a missing one is guessed from its name."""
    for i, text in enumerate(paths):
        path = Path(text)
        yield f"{key}[{i}]", text, path.is_dir() or not (path.exists() or path.suffix)


def file_problem(path: Path, is_folder: bool | None) -> tuple[str, str]:
    """Return what is wrong with a file or folder that a recipe names, and a hint; two empty strings if nothing is."""
    shown = plain(str(path))
    if not path.exists():
        return f"no such {'folder' if is_folder else 'file'}: {shown}.", near_file(path)
    if is_folder:
        return ("", "") if path.is_dir() else (f"not a folder: {shown}.", "")
    if not path.is_file():
        return f"not a file: {shown}.", ""
    if not os.access(path, os.R_OK):
        return f"not readable: {shown}.", ""
    return (f"is empty: {shown}.", "") if path.stat().st_size == 0 else ("", "")


def expand_short_forms(recipe: Node) -> Node:
    """Return a recipe's tree with every protection and alarm as a mapping; null stands for the default.

    A command that is a list becomes a mapping, and brings what its run has in place of a method and an objective.
    """
    recipe = _with_command(recipe)
    shorts = {name: recipe_protections.load(name).short for name in PROTECTIONS.names()}
    return _section(_section(recipe, "protect", shorts), "alarms", dict.fromkeys(ALARMS.names(), "on"))


def _with_command(recipe: Node) -> Node:
    command = recipe.settings.get("command")
    if command is None or command.value is None or isinstance(command.value, str):
        return recipe
    settings = {"run": command} if isinstance(command.value, list) else _with_pattern(command.settings)
    folder = command.implies(".", "from the recipe's folder")
    kind = command.with_value({"name": command.with_value(COMMAND)})
    unknown = command.with_value({"id": command.with_value(UNKNOWN)})
    whole = {"method": kind, "objective": kind, "model": unknown, **recipe.settings}
    return recipe.with_value({**whole, "command": command.with_value({"workdir": folder, **settings})})


def _with_pattern(settings: dict[str, Node]) -> dict[str, Node]:
    """Expand `metrics: {pattern: …}`, which is short for `command.pattern`."""
    metrics = settings.get("metrics")
    if metrics is None or not isinstance(metrics.value, dict) or metrics.settings.keys() != {"pattern"}:
        return settings
    others = {key: node for key, node in settings.items() if key != "metrics"}
    return {"pattern": metrics.settings["pattern"], **others}


def _section(recipe: Node, key: str, shorts: Mapping[str, str | None]) -> Node:
    """Expand one section; `shorts` maps each name to the option that a bare value sets."""
    section = recipe.settings.get(key)
    if section is None or not isinstance(section.value, dict):
        return recipe
    entries = {
        name: _mapping(node, shorts[name]) if name in shorts else node for name, node in section.value.items()
    }
    return recipe.with_value({**recipe.settings, key: section.with_value(entries)})


def _mapping(node: Node, short: str | None) -> Node:
    if isinstance(node.value, dict) or (short is None and node.value is not None):
        return node
    return node.with_value({} if node.value is None or short is None else {short: node})
