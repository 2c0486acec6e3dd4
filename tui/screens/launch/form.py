"""The form of the Launch screen as plain data: a base recipe, the edits typed over it, and the problems."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.errors import FinetopError, RecipeError
from finetop.core.plugins import METHODS, OBJECTIVES
from finetop.core.recipe.fields import Field, fields
from finetop.core.recipe.find import BuiltIn, list_builtin, read_text
from finetop.core.recipe.load import Loaded, file_problem, file_problems, find_problems, resolve_text
from finetop.core.recipe.schema import EvalShare, Source
from finetop.core.recipe.type_words import value_words

# The settings that nearly everybody changes, with their labels. All others are shown by their dotted keys.
IMPORTANT = {
    "name": "name",
    "model.id": "model",
    "data.train": "data",
    "train.epochs": "epochs",
    "train.batch_size": "batch",
    "train.grad_accumulation": "accumulation",
    "train.learning_rate": "learning rate",
    "method.rank": "rank",
    "method.alpha": "alpha",
    "data.max_tokens": "max tokens",
    "check.general.suite": "check",
    "check.general.margin": "max drop",
    "train.seed": "seed",
}
# The same of a recipe whose command trains.
OF_COMMAND = {
    "name": "name",
    "command.run": "command",
    "command.workdir": "folder",
    "command.values": "values",
    "command.output": "output",
    "command.metrics": "metrics",
    "command.resume_command": "resume with",
    "model.id": "base",
    "check.general.suite": "check",
    "check.general.margin": "max drop",
    "budget.gpus": "GPUs",
    "budget.hours": "hours",
}
_HIDDEN = ("recipe", "extends")
_PATHS = ("data.train", "model.id")  # and every key whose last part is `path`
START = ("lora", "qlora", "full")  # the recipes most people want, listed first
RUNS = "A run's"  # group heading of a form filled from a run
GROUPS = ("Start here", "What is learned", "Which weights", "What protects", "Side by side", "Demo")
_SECTIONS = {"protect": "What protects", "approaches": "Side by side"}  # headings by section, for other names
_DEFAULTS: dict[str, Any] = msgspec.to_builtins(Source())


@dataclass(frozen=True, slots=True)
class Base:
    """What a form starts from: the text of a recipe, and the folder its relative paths start from."""

    title: str
    about: str
    text: str
    folder: Path
    group: str = "Yours"  # its heading in the list
    is_builtin: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The key that identifies it in the list."""
        return self.group, self.title


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to fix: the setting, a short message, and the full one."""

    key: str
    short: str
    whole: str


@dataclass(frozen=True, slots=True)
class Form:
    """A base and the edits over it, as text by dotted key; `loaded` is the recipe while nothing is wrong."""

    base: Base
    edits: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Field, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)  # the base's own resolved settings
    loaded: Loaded | None = None
    problems: tuple[Problem, ...] = ()
    sweeps: frozenset[str] = frozenset()  # keys that hold several values, see sweep.py
    files_are_here: bool = True  # else they are on another machine and are checked when the run is queued


def builtin_bases(folder: Path) -> list[Base]:
    """List the built-in recipes: the most wanted first, then by topic."""
    bases = []
    for recipe in list_builtin():
        text = f"recipe: 1\nextends: {recipe.name}\nname: {recipe.name}\n"
        bases.append(Base(recipe.name, recipe.about, text, folder, _group(recipe), is_builtin=True))
    return sorted(bases, key=lambda base: (GROUPS.index(base.group), *_place(base.title)))


def _place(name: str) -> tuple[int, str]:
    return (START.index(name) if name in START else len(START)), name


def _group(recipe: BuiltIn) -> str:
    name = recipe.name
    if name in START:
        return "Start here"
    if name.startswith("demo-"):
        return "Demo"
    if name in OBJECTIVES.names():
        return "What is learned"
    if name in METHODS.names():
        return "Which weights"
    text = recipe.path.read_text(encoding="utf-8")
    return next(group for key, group in _SECTIONS.items() if re.search(rf"^{key}:", text, re.MULTILINE))


def file_base(path: Path) -> Base:
    """Return the base of a recipe file. Raises RecipeError if it can't be read."""
    return Base(path.name, "", read_text(path, path.name), path.parent)


def run_base(name: str, recipe: Mapping[str, Any], folder: Path) -> Base:
    """Return a base with the settings of a run, every default written out."""
    return Base(f"as {name}", "the settings of that run", json.dumps(recipe, indent=1), folder, RUNS)


def open_form(base: Base, edits: Mapping[str, str] | None = None, *, files_are_here: bool = True) -> Form:
    """Return the form of a base, with edits typed over another base kept."""
    edits = dict(edits or {})
    before: Mapping[str, Any] = {}
    try:
        before = resolve_text(base.text, (), base.folder).resolved
        settings = fields(before["method"]["name"], before["objective"]["name"])
        if before["name"] == "unnamed":
            edits.setdefault("name", base.title.rsplit(".", 1)[0])
    except FinetopError:
        settings = fields()  # the base itself is invalid; its problems are shown
    shown = tuple(entry for entry in settings if "[]" not in entry.key and entry.key not in _HIDDEN)
    return checked(Form(base, edits, shown, before, files_are_here=files_are_here))


def edited(form: Form, key: str, text: str | None) -> Form:
    """Set a field's text without checking it; None resets it to the recipe's value."""
    edits = {name: typed for name, typed in form.edits.items() if name != key}
    if text is not None and text != shown_value(form, key):
        edits[key] = text
    return replace(form, edits=edits)


def checked(form: Form) -> Form:
    """Resolve the form: its recipe, or every problem with its field.

    Problems that only show later (conflicting settings, missing files) are found by leaving out what is wrong so far.
    """
    edits = {key: text for key, text in form.edits.items() if is_known(form, key)}
    problems: dict[str, Problem] = {}
    while True:
        loaded, new_problems = _resolved(form, edits)
        if not (new_problems or problems):
            return replace(form, loaded=loaded, problems=())
        of_fields = {field_of(form, problem.key): problem for problem in new_problems}
        problems = of_fields | problems
        if loaded is not None or not of_fields.keys() & edits.keys():
            order = [entry.key for entry in form.settings]
            first = sorted(problems, key=lambda key: order.index(key) if key in order else -1)
            return replace(form, loaded=None, problems=tuple(problems[key] for key in first))
        edits = {key: text for key, text in edits.items() if key not in of_fields}


def _resolved(form: Form, edits: Mapping[str, str]) -> tuple[Loaded | None, list[Problem]]:
    sets = [as_set(form, key, text) for key, text in edits.items()]
    errors = find_problems(form.base.text, sets, form.base.folder)
    if errors:
        return None, [_problem(error) for error in errors]
    try:
        loaded = resolve_text(form.base.text, sets, form.base.folder)
    except RecipeError as error:
        return None, [_problem(error)]
    files = file_problem if form.files_are_here else (lambda path, is_folder: ("", ""))
    return loaded, [_problem(error) for error in file_problems(loaded, files)]


def changes(form: Form) -> int:
    """Count the settings edited over the base."""
    return sum(is_known(form, key) for key in form.edits if key != "name")


def named(bases: Sequence[Base], text: str) -> list[int]:
    """Return the indexes of the recipes with all words of a text in their name."""
    return _matching_texts([base.title for base in bases], text)


def matching(bases: Sequence[Base], text: str) -> list[int]:
    """Return the indexes of the recipes with all words of a text in their name, else in their description."""
    return named(bases, text) or _matching_texts([base.about for base in bases], text)


def _matching_texts(texts: Sequence[str], text: str) -> list[int]:
    words = text.lower().split()
    return [at for at, own in enumerate(texts) if words and all(word in own.lower() for word in words)]


def is_known(form: Form, key: str) -> bool:
    """Return True if the base's method and objective have this setting."""
    return any(entry.key == key for entry in form.settings)


def is_command(form: Form) -> bool:
    """Return True if a program of the user's trains."""
    return bool(form.before.get("command"))


def important(form: Form) -> Mapping[str, str]:
    """Return the settings that nearly everybody changes, with their labels."""
    return OF_COMMAND if is_command(form) else IMPORTANT


def visible(form: Form, *, all_settings: bool, searched: str = "") -> tuple[tuple[str, Field], ...]:
    """Return the fields to show with their labels; a search goes through all settings."""
    if not form.before:
        return ()  # the base can't be read: it has no fields to show
    labels = important(form)
    known = {entry.key: entry for entry in form.settings}
    if words := searched.lower().split():
        texts = [f"{key} {labels.get(key, '')} {entry.about}".lower() for key, entry in known.items()]
        fits = (all(word in text for word in words) for text in texts)
        return tuple(compress(known.items(), fits))
    if all_settings:
        return tuple(known.items())
    return tuple((label, known[key]) for key, label in labels.items() if key in known)


def value_of(form: Form, key: str) -> str:
    """Return a field's text: what was typed, else the recipe's value, which an edit can drop: epochs drop max_steps."""
    if key in form.edits:
        return form.edits[key]
    return shown_value(form, key) if form.loaded is None else _text_of(form.loaded.resolved, key, form)


def shown_value(form: Form, key: str) -> str:
    """Return the base's value of a setting, as a person types it."""
    return _text_of(form.before, key, form)


def _text_of(recipe: Mapping[str, Any], key: str, form: Form) -> str:
    value: Any = recipe
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if key == "data.train" and isinstance(value, list):
        return _sources(value, form.base.folder)
    return value_words(value)


def _sources(sources: list[dict[str, Any]], folder: Path) -> str:
    """Return a single plain file as its path (relative to the folder if inside it), anything else as a JSON list."""
    shown = [given(source) for source in sources]
    if len(shown) == 1 and list(shown[0]) == ["path"]:
        return str(shown[0]["path"]).removeprefix(f"{folder}/")
    return json.dumps(shown) if shown else ""


def sources_in_words(form: Form) -> list[str]:
    """Return what a data field that is typed as a list holds, each source in words; none of a plain path."""
    text = value_of(form, "data.train")
    try:
        sources = json.loads(text) if text.startswith("[") else []
    except ValueError:
        return []
    if not all(isinstance(source, dict) for source in sources):
        return []
    return [_source_words(source, form.base.folder) for source in sources]


def _source_words(source: Mapping[str, Any], folder: Path) -> str:
    path = str(source.get("path", "")).removeprefix(f"{folder}/")
    others = (f"{key} {value_words(value)}" for key, value in source.items() if key != "path")
    return ", ".join(filter(None, (path, *others)))


def given(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a data source that differ from the defaults."""
    return {key: value for key, value in source.items() if value != _DEFAULTS.get(key)}


def as_set(form: Form, key: str, text: str) -> str:
    """Return a field's text as a `--set` argument, quoted if YAML would read it as something else."""
    text = text.strip()
    setting = next(entry for entry in form.settings if entry.key == key)
    if key == "data.train" and not text.startswith(("[", "{")):
        return f"{key}=[{{path: {json.dumps(text)}}}]" if text else f"{key}=[]"
    if setting.type.startswith("text") and not (text == "null" and "null" in setting.type):
        return f"{key}={json.dumps(text)}"
    return f"{key}={text}"


def problem_at(form: Form, key: str) -> Problem | None:
    """Return the problem of a field, or None."""
    return next((problem for problem in form.problems if field_of(form, problem.key) == key), None)


def is_path(key: str, text: str) -> bool:
    """Return True if a field's text is a path; a model id counts only if it starts like one."""
    if key == "model.id":
        return text.startswith(("/", "./", "../", "~"))
    return not text.startswith(("[", "{")) and (key in _PATHS or key.rpartition(".")[2] == "path")


def field_of(form: Form, key: str) -> str:
    """Return the field that a problem's key belongs to: data.train for data.train[0].path."""
    keys = (entry.key for entry in form.settings)
    around = [known for known in keys if key == known or key.startswith((f"{known}[", f"{known}."))]
    return max(around, key=len, default=key)


def _problem(error: RecipeError) -> Problem:
    message = error.message.removeprefix(f"{error.place}: ").removeprefix("--set: ")
    short = message.removeprefix(f"{error.key}: ")
    if "; it must be " in short:
        short = "must be " + _brief(short.partition("; it must be ")[2])
    if error.key == "data.train" and "is not set" in message:
        short, hint = "needs a data file", "Type the path of a data file: .jsonl, .csv, .parquet …"
        return Problem(error.key, short, f"{message} {hint}")
    return Problem(error.key, short.rstrip("."), f"{message} {error.hint}".strip())


def _brief(rule: str) -> str:
    """Shorten the rule for a number; the pane has it in full."""
    for start in ("a whole number, ", "a whole number from ", "a number, ", "a number from ", "a number "):
        if rule.startswith(start):
            return rule.removeprefix(start)
    return rule


def source_of(form: Form) -> str:
    """Return the recipe text to keep with the run: the base's text, or all settings if any was edited."""
    known = [key for key in form.edits if is_known(form, key)]
    if not known or form.loaded is None:
        return form.base.text
    changes = "".join(f"#   {as_set(form, key, form.edits[key])}\n" for key in known)
    whole = json.dumps(form.loaded.resolved, indent=1)
    return f"# {form.base.title}, with these settings typed over it:\n{changes}{whole}\n"


def about(form: Form) -> str:
    """Return one line on what the base is for."""
    extends = form.before.get("extends")
    return form.base.about or str(form.before.get("about") or (f"starts from {extends}" if extends else ""))


def train_path(form: Form) -> str | None:
    """Return the path of the first training file, or None if the data is not read from files."""
    if form.loaded is None or not form.loaded.recipe.data.train:
        return None
    return form.loaded.recipe.data.train[0].path


def steps_of(form: Form, rows: int) -> int | None:
    """Estimate the run's steps; packing and dropped rows are not known yet."""
    if form.loaded is None or len(form.loaded.recipe.data.train) != 1:
        return None
    train, data = form.loaded.recipe.train, form.loaded.recipe.data
    held_back = data.eval.share if isinstance(data.eval, EvalShare) else 0.0
    if train.epochs is None:
        return train.max_steps
    batch = train.batch_size * train.grad_accumulation
    steps = max(1, round(rows * (1 - held_back) * train.epochs / batch))
    return min(steps, train.max_steps or steps)


def recipe_files(folder: Path) -> Sequence[Path]:
    """List the recipe files of a folder by name, at most a hundred; none if it can't be read."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")]
        return sorted(filter(Path.is_file, paths))[:100]
    except OSError:
        return []
