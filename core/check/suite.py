"""Suites of benchmark tasks: which there are, what is in their files, and every fault in them, with its line.

A suite is one YAML file: the package's own in core/suites, a user's in HOME/suites. Nothing here imports
torch or lm_eval: the command line lists suites.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.data import stream_rows
from finetop.core.errors import BadInput, NotFound, RecipeError, did_you_mean
from finetop.core.recipe.names import check_name, plain, quoted
from finetop.core.recipe.strict_yaml import Node, Origin, parse, to_plain
from finetop.core.recipe.words import type_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.home import Home

BUILT_IN = Path(__file__).parent.parent / "suites"


class SuiteTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One task of a suite: its rows, its metric, and the harness's own settings under lm_eval."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    data: Annotated[str, Meta(min_length=1)]  # a .jsonl file; read: its absolute path
    chance: Annotated[float, Meta(ge=0, lt=1)]  # what guessing scores
    cap: Annotated[int, Meta(ge=1)] | None = None  # at most so many items are drawn; None for all
    weight: Annotated[float, Meta(gt=0)] = 1.0
    metric: Annotated[str, Meta(min_length=1)] = "acc"
    num_fewshot: Annotated[int, Meta(ge=0, le=100)] = 0
    chat: bool = False  # the prompt is a user's turn in the model's chat template
    lm_eval: dict[str, Any] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    suite: Literal[1]
    name: str
    about: Annotated[str, Meta(max_length=1000)] = ""
    text: str | None = None
    tasks: Annotated[tuple[SuiteTask, ...], Meta(min_length=1)]


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A suite as read: paths are absolute, names are checked, `places` say where each task was written."""

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


def suite_files(home: Home) -> tuple[Path, ...]:
    """List the YAML files of all suites: the package's, then the user's."""
    folders = (BUILT_IN, home.root / "suites")
    return tuple(file for folder in folders for file in sorted(folder.glob("*.yaml")))


def suites(home: Home) -> tuple[Suite, ...]:
    """Read every suite there is, by name. Raises BadInput for a faulty one, or two of one name."""
    read: dict[str, Suite] = {}
    for file in suite_files(home):
        suite = load_suite(file)
        if (other := read.get(suite.name)) is not None:
            raise BadInput(
                f"Two suites are named {suite.name}: {other.file} and {file}.", hint="Rename one of them."
            )
        read[suite.name] = suite
    return tuple(read[name] for name in sorted(read))


def find_suite(name: str, home: Home) -> Suite:
    """Give the suite of this name. Raises NotFound with a suggestion, BadInput for a faulty file."""
    known = {suite.name: suite for suite in suites(home)}
    if name not in known:
        raise NotFound(f"there is no suite {quoted(name)}.", hint=did_you_mean(name[:60], known))
    return known[name]


def load_suite(file: Path) -> Suite:
    """Read one suite's YAML. Raises RecipeError with file, line and key for the first fault in it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"can't read the suite {file}: {error}.") from error
    root = parse(text, Origin(str(file), file.parent))
    entries = _known_keys(root, _File, "a suite")
    parts = _nodes(entries.get("tasks"), root, "tasks")
    for place, node in enumerate(parts):
        _fields(node, SuiteTask, f"a task of {plain(str(file.stem))}", f"tasks[{place}].")
    _fields(root, _File, "a suite", "")
    read = msgspec.convert(to_plain(root), _File)
    check_name(read.name, entries["name"].place)
    tasks = tuple(_task(task, node, file) for task, node in zip(read.tasks, parts, strict=True))
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
    """Read a task's items.

    Raises BadInput with file and line for a row that is no item, or an id that comes twice.
    """
    rows: dict[str, Row] = {}
    for number, values in stream_rows(Path(task.data)):
        place = f"{task.data}:{number}"
        identity = values.get("id")
        if isinstance(identity, int) and not isinstance(identity, bool):
            identity = str(identity)
        if not isinstance(identity, str) or not identity:
            raise BadInput(
                f"{place}: id is {quoted(identity)}.", hint="Give every item a text of its own as id."
            )
        if identity in rows:
            raise BadInput(
                f"{place}: the id {quoted(identity)} comes twice.", hint="Give every item an id of its own."
            )
        named = {key: values.get(key) or "" for key in ("category", "cluster")}
        for key, value in named.items():
            if not isinstance(value, str):
                raise BadInput(
                    f"{place}: {key} is {quoted(value)}, and must be text.", hint="Put it in quotes."
                )
        rows[identity] = Row(identity, named["category"], named["cluster"], {**values, "id": identity})
    if not rows:
        raise BadInput(
            f"{task.data} has no items.", hint=f"Write one JSON object a line, or drop the task {task.name}."
        )
    return tuple(rows.values())


def task_fingerprint(task: SuiteTask) -> str:
    """Hash (sha256, hex) all of a task that can change a score, its rows aside.

    Those are keyed by their prompts.
    """
    scored = {field: getattr(task, field) for field in ("metric", "num_fewshot", "chat", "lm_eval")}
    return hashlib.sha256(msgspec.json.encode(scored, order="deterministic")).hexdigest()


def _known_keys(node: Node, kind: type[msgspec.Struct], what: str) -> Mapping[str, Node]:
    """Give a mapping's entries. Raises RecipeError if it is none, or has a key that `kind` has not."""
    if not isinstance(node.value, dict):
        raise RecipeError(f"{what} is {quoted(to_plain(node))}, and must be a mapping.", place=node.place)
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key, child in node.value.items():
        if key not in known:
            hint = did_you_mean(key[:60], known)
            raise RecipeError(f"{plain(key)} is not a key of {what}.", place=child.place, key=key, hint=hint)
    return node.value


def _fields(node: Node, kind: type[msgspec.Struct], what: str, prefix: str) -> None:
    """Check every field of a mapping by its own type, so that an error has the field's line."""
    entries = _known_keys(node, kind, what)
    for field in msgspec.structs.fields(kind):
        child = entries.get(field.name)
        if child is None:
            if field.required:
                raise RecipeError(
                    f"{prefix}{field.name} is missing.", place=node.place, key=prefix + field.name
                )
            continue
        value = to_plain(child)
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            key = prefix + field.name
            must = f"{key} is {quoted(value)}, and must be {type_words(field.type)}."
            if isinstance(value, dict | list):
                must = f"{key}: {error}."
            raise RecipeError(must, place=child.place, key=key) from error


def _nodes(node: Node | None, root: Node, key: str) -> list[Node]:
    if node is None or not isinstance(node.value, list) or not node.value:
        place = root.place if node is None else node.place
        raise RecipeError(f"{key} must be a list of at least one task.", place=place, key=key)
    return node.value


def _task(task: SuiteTask, node: Node, file: Path) -> SuiteTask:
    assert isinstance(node.value, dict)
    check_name(task.name, node.value["name"].place)
    return msgspec.structs.replace(task, data=str(_data_file(task.data, node.value["data"], "data")))


def _data_file(path: str, node: Node, key: str) -> Path:
    """Make a path absolute against the suite's own folder, whatever the working directory is."""
    found = (node.origin.folder / path).absolute()
    if not found.is_file():
        raise RecipeError(f"{key}: there is no file {plain(str(found))}.", place=node.place, key=key)
    return found


def _no_twins(tasks: tuple[SuiteTask, ...], nodes: list[Node]) -> None:
    seen: set[str] = set()
    for task, node in zip(tasks, nodes, strict=True):
        if task.name in seen:
            raise RecipeError(
                f"the task {task.name} comes twice.", place=node.place, key="name", hint="Rename one."
            )
        seen.add(task.name)
