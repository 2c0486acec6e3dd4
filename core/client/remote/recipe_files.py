"""Recipes for another machine: the files that they name must exist there, and finetop's own files go by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetop.core.client.connection import ask_once
from finetop.core.errors import RecipeError
from finetop.core.protocol.messages.machine import PathFacts, Paths
from finetop.core.recipe.command import files_in
from finetop.core.recipe.find import by_name, is_ours
from finetop.core.recipe.load import Loaded, check_files, paths_of
from finetop.core.runtime.home import Home
from finetop.core.text import plain


def require_files(loaded: Loaded, home: Home) -> dict[str, Any]:
    """Require a run's files where it will run, and return the resolved recipe to send. Raises RecipeError."""
    if home.link is None:
        check_files(loaded)
    else:
        require_there(loaded, ask_once(home, Paths(own_paths(loaded))).facts, home.label)
    return portable_recipe(loaded, home)


def portable_recipe(loaded: Loaded, home: Home) -> dict[str, Any]:
    """Return the resolved recipe as sent to a home; no file is checked."""
    if home.link is None:
        return loaded.resolved
    portable: dict[str, Any] = by_name(loaded.resolved)
    return portable


def own_paths(loaded: Loaded) -> list[str]:
    """Return the paths that a recipe and its command name, except those that come with finetop."""
    of_command = () if loaded.recipe.command is None else files_in(loaded.recipe.command)
    paths = {path for _, path, _ in paths_of(loaded.recipe)} | {str(path) for _, path, _ in of_command}
    return sorted(path for path in paths if not is_ours(path))


def require_there(loaded: Loaded, path_facts: Sequence[PathFacts], label: str) -> None:
    """Require a recipe's files on the machine `label`, as large as those of that name here. Raises RecipeError."""
    facts = {fact.path: fact for fact in path_facts}

    def check_path(path: Path, is_folder: bool | None) -> tuple[str, str]:
        shown = plain(str(path))
        fact = facts.get(str(path))
        if is_ours(str(path)):
            return "", ""
        if fact is None or fact.kind == "none":
            copy = f"Copy it there: scp {'-r ' * path.is_dir()}{shown} {label}:{shown}"
            fix = copy if path.exists() else "Give a path that exists."
            return f"{label} has no {shown}; a run reads the files of the machine that it runs on.", fix
        kinds = ("file", "folder") if is_folder is None else ("folder",) if is_folder else ("file",)
        if fact.kind not in kinds:
            wanted = "a folder" if is_folder else "a file"
            return f"on {label}, {shown} is not {wanted} you can read.", ""
        if fact.kind == "file" and fact.size == 0:
            return f"on {label}, {shown} is empty.", ""
        if not is_folder and path.is_file() and path.stat().st_size != fact.size:
            sizes = f"{fact.size:,} bytes there, {path.stat().st_size:,} here"
            return (f"{shown} differs on {label}: {sizes}.", "Copy it again, or queue the run from there.")
        return "", ""

    check_files(loaded, check_path)
    command = loaded.recipe.command
    for key, path, is_program in () if command is None else files_in(command):
        fact = facts.get(str(path))
        if fact is not None and fact.kind == "file" and (is_program or fact.size == path.stat().st_size):
            continue  # a program of that name may be another build
        problem, hint = check_path(path, is_folder=False)
        raise RecipeError(f"{key}: {problem}", key=key, hint=hint)
