"""Suites of benchmark tasks: which exist, what their files hold, and every fault in them, with its line.

A suite is one YAML file: the package's own in core/check/suites, a user's in HOME/suites or anywhere, named by its
path. A task gets its rows from one of three places: `data`, a file of rows; `task`, a task or group of the
lm-evaluation-harness by name; `yaml`, a file that describes a task for the harness. Nothing here imports torch
or lm_eval, because the command line lists suites.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.data.files import stream_rows
from finetop.core.errors import BadInput, FinetopError, NotFound, RecipeError, did_you_mean
from finetop.core.recipe.names import check_name
from finetop.core.recipe.strict_yaml import MAX_BYTES, Node, Origin, parse, to_plain
from finetop.core.recipe.type_words import type_words
from finetop.core.runtime.files import given_path, read_given
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.home import Home

SOURCES = ("data", "task", "yaml")
PATHS = ("data", "yaml", "examples")
ONLY_DATA = ("shape", "examples")
BUILT_IN = Path(__file__).parents[1] / "suites"
Shape = Literal["choice", "pair", "cloze", "written"]
Name = Annotated[str, Meta(min_length=1, max_length=80)]
PathText = Annotated[str, Meta(min_length=1)]


class SuiteTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One task of a suite: where its items are, how they are asked and graded, and how much it counts."""

    name: Name = ""  # default: the harness's name, or the file's
    data: PathText | None = None  # a file of rows; once read, its absolute path
    task: Name | None = None  # a task, group or tag of the harness
    yaml: PathText | None = None  # a task's YAML file; once read, its absolute path
    shape: Shape | None = None  # how plain rows are asked; None: by their keys (see jsonl.py)
    # a file with the examples for num_fewshot, the same for every item
    examples: PathText | None = None
    cluster: Name | None = None  # a column: items with the same value there belong together
    chance: Annotated[float, Meta(ge=0, lt=1)] | None = None  # what guessing scores; None: computed
    cap: Annotated[int, Meta(ge=1)] | None = None  # at most this many items are drawn; None for all
    weight: Annotated[float, Meta(gt=0)] = 1.0
    metric: Name | None = None  # None: the first of the task's metrics with scores in [0, 1]
    filter: Name | None = None  # of a task with several, by name; None: the first
    num_fewshot: Annotated[int, Meta(ge=0, le=100)] | None = None  # None: the task's default, else 0
    chat: bool = False  # the prompt is a user's turn in the model's chat template
    trust_code: bool = False  # run Python that comes with a YAML (!function), or that a model wrote
    lm_eval: dict[str, Any] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    suite: Literal[1]
    name: str
    about: Annotated[str, Meta(max_length=1000)] = ""
    text: str | None = None
    tasks: Annotated[tuple[SuiteTask, ...], Meta(min_length=1)]


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A suite as read: paths are absolute, names are checked, `places` are where each task was written."""

    name: str
    about: str
    file: Path
    text: Path | None  # general text for drift
    tasks: tuple[SuiteTask, ...]
    places: tuple[str, ...]


class Row(msgspec.Struct, frozen=True):
    """One benchmark item as its file has it; `values` is the whole row."""

    id: str
    category: str
    cluster: str
    values: dict[str, Any]
    place: str = ""  # file:line


def suite_files(home: Home) -> tuple[Path, ...]:
    """Return the YAML files of all suites: the package's, then the user's."""
    folders = (BUILT_IN, home.root / "suites")
    return tuple(file for folder in folders for file in sorted(folder.glob("*.yaml")))


def suites(home: Home) -> tuple[Suite, ...]:
    """Read all suites, sorted by name. Raises BadInput for a faulty one, or two with one name."""
    read: dict[str, Suite] = {}
    for file in suite_files(home):
        suite = _built_in(file) if file.parent == BUILT_IN else load_suite(file)
        if (other := read.get(suite.name)) is not None:
            hint = "Rename one of them."
            raise BadInput(f"Two suites are named {suite.name}: {other.file} and {file}.", hint=hint)
        read[suite.name] = suite
    return tuple(read[name] for name in sorted(read))


@cache
def _built_in(file: Path) -> Suite:
    """Read a suite of the package, cached: it takes 60 ms, and each submission needs all of them."""
    return load_suite(file)


def is_path(name: str) -> bool:
    """Return whether this is a suite's file rather than its name: it starts with /, ./, ../ or ~."""
    return name.startswith(("/", "./", "../", "~"))


def find_suite(name: str, home: Home) -> Suite:
    """Return the suite with this name or path. Raises NotFound with a suggestion, BadInput for a faulty file."""
    if is_path(name):
        return load_suite(given_path(name))
    known = {suite.name: suite for suite in suites(home)}
    if name not in known:
        is_file = name.endswith((".yaml", ".yml"))
        written = f"A file starts with ./ or /: write ./{name[:60]}."
        hint = written if is_file else did_you_mean(name[:60], known)
        raise NotFound(f"there is no suite {quoted(name)}.", hint=hint)
    return known[name]


def general_text(recipe: Recipe, home: Home) -> str | None:
    """Return the general text of the recipe's suite, or of the suite quick; None if there is none."""
    name = recipe.check.general.suite if recipe.check.general is not None else "quick"
    try:
        path = find_suite(name, home).text
        return None if path is None else read_given(path).decode()
    except (FinetopError, OSError) as error:
        print(f"no drift probe: {error}")
        return None


def load_suite(file: Path) -> Suite:
    """Read one suite's YAML. Raises RecipeError with file, line and key for the first fault in it."""
    try:
        text = read_given(file, MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(f"can't read the suite {plain(str(file))}: {reason.lower()}.") from error
    root = parse(text, Origin(str(file), file.parent))
    entries = _known_keys(root, _File, "a suite")
    parts = _tasks(entries.get("tasks", root))
    for place, node in enumerate(parts):
        _fields(node, SuiteTask, f"a task of {plain(str(file.stem))}", f"tasks[{place}].")
    _fields(root, _File, "a suite", "")
    read = msgspec.convert(to_plain(root), _File)
    check_name(read.name, entries["name"].place)
    tasks = tuple(_task(task, node) for task, node in zip(read.tasks, parts, strict=True))
    _no_twins(tasks, parts)
    return Suite(
        name=read.name,
        about=read.about,
        file=file,
        text=_data_file(read.text, entries["text"], "text") if read.text is not None else None,
        tasks=tasks,
        places=tuple(node.place for node in parts),
    )


def read_rows(task: SuiteTask) -> tuple[Row, ...]:
    """Read a task's own items; without ids, line numbers are used. Raises BadInput with file and line of a bad row."""
    assert task.data is not None
    return _read_rows(Path(task.data), task.name, task.cluster or "cluster")


def read_examples(task: SuiteTask) -> tuple[Row, ...]:
    """Read the few-shot examples of a task's own file. Raises BadInput with file and line, or if there are too few."""
    if task.examples is None:
        return ()
    rows = _read_rows(Path(task.examples), task.name, "cluster")
    wanted = task.num_fewshot or 0
    if len(rows) < wanted:
        message = f"{task.examples} has {len(rows)} examples, and num_fewshot of {task.name} is {wanted}."
        raise BadInput(message, hint="Add examples, or lower num_fewshot.")
    return rows


def _read_rows(file: Path, name: str, cluster: str) -> tuple[Row, ...]:
    rows: dict[str, Row] = {}
    numbered = False
    for at, values in stream_rows(file):
        place = f"{file}:{at.number}" if file.is_file() else f"{file.parent}/{at}"
        identity = values.get("id")
        if not rows:
            numbered = "id" not in values
        if numbered and "id" not in values:
            identity = at.number if file.is_file() else str(at)
        if isinstance(identity, int) and not isinstance(identity, bool):
            identity = str(identity)
        if not isinstance(identity, str) or not identity:
            hint = "Give every item a text of its own as id."
            raise BadInput(f"{place}: id is {quoted(identity)}.", hint=hint)
        if identity in rows:
            hint = "Give every item an id of its own."
            raise BadInput(f"{place}: the id {quoted(identity)} comes twice.", hint=hint)
        named = {key: values.get(key) or "" for key in ("category", cluster)}
        for key, value in named.items():
            if not isinstance(value, str):
                hint = "Put it in quotes."
                raise BadInput(f"{place}: {key} is {quoted(value)}; it must be text.", hint=hint)
        rows[identity] = Row(identity, named["category"], named[cluster], {**values, "id": identity}, place)
    if not rows:
        hint = f"Write one JSON object a line, or drop the task {name}."
        raise BadInput(f"{file} has no items.", hint=hint)
    return tuple(rows.values())


def task_fingerprint(task: SuiteTask) -> str:
    """Hash (sha256, hex) all in a task that can change a score, except its rows, which are keyed by prompts."""
    scoring = ("metric", "filter", "shape", "num_fewshot", "chat", "lm_eval")
    scored = {field: getattr(task, field) for field in scoring}
    return hashlib.sha256(msgspec.json.encode(scored, order="deterministic")).hexdigest()


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)  # cached: reading the annotations takes 3 ms each time


def _known_keys(node: Node, kind: type[msgspec.Struct], what: str) -> Mapping[str, Node]:
    """Return a mapping's entries. Raises RecipeError if it is none, or has a key that `kind` does not have."""
    if not isinstance(node.value, dict):
        raise RecipeError(f"{what} is {quoted(to_plain(node))}; it must be a mapping.", place=node.place)
    known = [field.name for field in _fields_of(kind)]
    for key, child in node.value.items():
        if key not in known:
            hint = did_you_mean(key[:60], known)
            raise RecipeError(f"{plain(key)} is not a key of {what}.", place=child.place, key=key, hint=hint)
    return node.value


def _fields(node: Node, kind: type[msgspec.Struct], what: str, prefix: str) -> None:
    """Check every field of a mapping by its own type, so that an error has the field's line."""
    entries = _known_keys(node, kind, what)
    for field in _fields_of(kind):
        child = entries.get(field.name)
        if child is None:
            if field.required:
                key = prefix + field.name
                raise RecipeError(f"{key} is missing.", place=node.place, key=key)
            continue
        value = to_plain(child)
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            key = prefix + field.name
            must = f"{key} is {quoted(value)}; it must be {type_words(field.type)}."
            if isinstance(value, dict | list):
                must = f"{key}: {error}."
            raise RecipeError(must, place=child.place, key=key) from error


def _tasks(node: Node) -> list[Node]:
    if not isinstance(node.value, list) or not node.value:
        raise RecipeError("tasks must be a list of at least one task.", place=node.place, key="tasks")
    return node.value


def _task(task: SuiteTask, node: Node) -> SuiteTask:
    """Check a task's fields together, name it and make its paths absolute."""
    assert isinstance(node.value, dict)
    given = [source for source in SOURCES if getattr(task, source) is not None]
    if len(given) != 1:
        fault = f"both {given[0]} and {given[1]}" if given else "no data, task or yaml"
        hint = "Set one: data (a file of rows), task (the harness's name) or yaml (a task's file)."
        raise RecipeError(f"a task has {fault}.", place=node.place, hint=hint)
    for key in ONLY_DATA:
        if getattr(task, key) is not None and task.data is None:
            place = node.value[key].place
            message, hint = f"{key} can't be combined with {given[0]}.", "It is for rows of a data file."
            raise RecipeError(message, place=place, key=key, hint=hint)
    if task.yaml is not None and task.lm_eval:
        message, place = "lm_eval can't be combined with yaml.", node.value["lm_eval"].place
        raise RecipeError(message, place=place, hint="Write it into that file.")
    name = task.name or task.task or Path(task.data or task.yaml or "").stem
    check_name(name, node.value["name"].place if "name" in node.value else node.place)
    named = {key: getattr(task, key) for key in PATHS}
    paths = {key: str(_data_file(path, node.value[key], key)) for key, path in named.items() if path}
    return msgspec.structs.replace(task, name=name, **paths)


def _data_file(path: str, node: Node, key: str) -> Path:
    """Make a path absolute against the suite's own folder, whatever the working directory is."""
    absolute = (node.origin.folder / path).absolute()
    if not absolute.is_file():
        raise RecipeError(f"{key}: there is no file {plain(str(absolute))}.", place=node.place, key=key)
    return absolute


def _no_twins(tasks: tuple[SuiteTask, ...], nodes: list[Node]) -> None:
    seen: set[str] = set()
    for task, node in zip(tasks, nodes, strict=True):
        if task.name in seen:
            message, hint = f"the task {task.name} comes twice.", "Give one another name."
            raise RecipeError(message, place=node.place, key="name", hint=hint)
        seen.add(task.name)
