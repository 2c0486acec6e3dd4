"""Writes the form as a recipe file: the differences from a built-in recipe, else every setting."""

from __future__ import annotations

import shlex
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.recipe.written import as_yaml
from finetop.tui.screens.launch.form import RUNS, Form, as_set, given, is_known
from finetop.tui.screens.launch.sweep import axes_of


def recipe_path(form: Form, folder: Path) -> Path:
    """Return the file to write the recipe to: NAME.yaml. Raises BadInput while a setting is wrong."""
    if form.loaded is None:
        raise BadInput("not written: fix the settings first.")
    return folder / f"{form.loaded.recipe.name}.yaml"


def recipe_text(form: Form, folder: Path) -> str:
    """Return the recipe as YAML; a sweep becomes a comment with the command that runs it."""
    assert form.loaded is not None
    resolved = form.loaded.resolved
    if form.base.is_builtin:
        recipe: dict[str, Any] = {"recipe": 1, "extends": form.before["name"], "name": resolved["name"]}
        for key in form.edits:
            if is_known(form, key) and key != "name":
                _set(recipe, key, reduce(getitem, key.split("."), resolved))
    else:
        recipe = dict(resolved)
    recipe = _with_relative_paths(recipe, folder)
    text = as_yaml(recipe, width=100)
    sweeps = " ".join(f"--sweep '{axis.key}={','.join(axis.values)}'" for axis in axes_of(form))
    return text if not sweeps else f"# finetop run {resolved['name']}.yaml {sweeps}\n{text}"


def command_of(form: Form) -> str:
    """Return the command that queues the form; empty for a form filled from a run, which has no file yet."""
    if form.loaded is None or form.base.group == RUNS:
        return ""
    known = [key for key in form.edits if is_known(form, key) and key not in form.sweeps]
    arguments = ["finetop", "run", form.base.title]
    arguments += [word for key in known for word in ("--set", as_set(form, key, form.edits[key]))]
    for axis in axes_of(form):
        arguments += ["--sweep", f"{axis.key}={','.join(axis.values)}"]
    return shlex.join(arguments)


def write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write the file. Raises FileExistsError if it exists, BadInput if it can't be written."""
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise
    except OSError as error:
        raise BadInput(
            f"can't write {path}: {error.strerror}.", hint="Start finetop in another folder."
        ) from error


def _set(section_values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        section_values = section_values.setdefault(section, {})
    section_values[last] = value


def _with_relative_paths(recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make data paths below the folder relative to it, and leave out a source's default values."""
    data = recipe.get("data", {})
    shown = {}
    for key in ("train", "eval"):
        if isinstance(data.get(key), list):
            shown[key] = [given(source) for source in data[key]]
            for source in shown[key]:
                if "path" in source:
                    source["path"] = source["path"].removeprefix(f"{folder}/")
    return {**recipe, "data": {**data, **shown}} if shown else recipe
