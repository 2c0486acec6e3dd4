"""Find recipes, built in or in files, and read their text without trusting either."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetop.core.errors import NotFound, RecipeError, did_you_mean, near
from finetop.core.recipe.strict_yaml import MAX_BYTES, TOO_LARGE, Origin
from finetop.core.runtime.files import open_given
from finetop.core.text import plain, quoted

BUILTIN = "builtin:"
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A recipe that comes with finetop; `about` is its description in a list."""

    name: str
    about: str
    path: Path


def builtin_folder() -> Path:
    """Return the folder of the recipes that come with finetop."""
    from importlib.resources import files

    return Path(str(files("finetop.recipes")))


def list_builtin() -> list[BuiltIn]:
    """Return the recipes of one run that come with finetop, sorted by name."""
    return [recipe for recipe, is_chain in _all_builtin() if not is_chain]


def list_chains() -> list[BuiltIn]:
    """Return the chains that come with finetop, sorted by name: recipes with `stages:`."""
    return [recipe for recipe, is_chain in _all_builtin() if is_chain]


def _all_builtin() -> list[tuple[BuiltIn, bool]]:
    recipes = []
    for path in sorted(builtin_folder().glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        is_chain = re.search(r"^stages:", text, re.MULTILINE) is not None
        recipes.append((BuiltIn(path.stem, _about(text), path), is_chain))
    return recipes


def _about(text: str) -> str:
    match = re.search(r"^about: *(.+)$", text, re.MULTILINE)
    return match.group(1).strip().strip("\"'") if match else ""


def builtin_file(name: str) -> Path:
    """Return the path of a file in the folder of finetop's recipes. Raises ValueError if it is outside of it."""
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\0" in name or "\\" in name:
        raise ValueError(f"{quoted(name)} is not a file shipped with finetop.")
    return builtin_folder().joinpath(*parts)


def resolve_path(text: str, folder: Path) -> Path:
    """Make a recipe's path absolute: from `builtin:`, ~ or `folder`. Raises ValueError."""
    if not text.strip():
        raise ValueError("the path is empty.")
    if text.startswith(BUILTIN):
        return builtin_file(text.removeprefix(BUILTIN))
    try:
        expanded = Path(text).expanduser()
    except RuntimeError as error:  # such as ~nobody
        raise ValueError(f"{quoted(text)}: no such user.") from error
    return Path(os.path.normpath(folder / expanded))


def looks_like_path(text: str) -> bool:
    """Return True for a path (`./x`, `a/b`, `x.yaml`), False for the bare name of a built-in recipe."""
    return "/" in text or text.endswith(_ENDINGS) or text in (".", "..")


def find_recipe(path_or_name: str, cwd: Path) -> Path:
    """Return a recipe's file: built in by a bare name, else by a path from `cwd`. Raises NotFound with a suggestion."""
    name = path_or_name.removeprefix(BUILTIN).removesuffix(".yaml")
    if path_or_name.startswith(BUILTIN) or not looks_like_path(path_or_name):
        names = [recipe.name for recipe, _ in _all_builtin()]
        if name in names:
            return builtin_folder() / f"{name}.yaml"
        if path_or_name.startswith(BUILTIN) or not _exists(cwd / path_or_name):
            meant = did_you_mean(name[:60], names, whole="finetop methods")
            hint = f"{meant} A file of your own ends in .yaml."
            raise NotFound(f"there is no recipe {quoted(path_or_name)}.", hint=hint)
    try:
        path = resolve_path(path_or_name, cwd)
    except ValueError as error:
        raise NotFound(str(error)) from error
    if not _exists(path):
        raise NotFound(f"there is no recipe file {plain(path_or_name)}.", hint=near_file(path))
    return path


def near_file(path: Path) -> str:
    """Suggest a file in the same folder with a similar name: 'Did you mean faq.jsonl?', or an empty string."""
    try:
        siblings = [entry.name for entry in path.parent.iterdir()][:1000]
    except (OSError, ValueError):
        return ""
    name = near(path.name, siblings)
    return f"Did you mean {name}?" if name and name.isprintable() else ""


def origin_of(path: Path, cwd: Path) -> Origin:
    """Return a recipe file's origin for errors: a built-in name, a path below `cwd`, or the whole path."""
    if path.parent == builtin_folder():
        return Origin(f"{BUILTIN}{path.name}", path.parent)
    try:
        label = str(path.relative_to(cwd))
    except ValueError:
        label = str(path)
    return Origin(plain(label), path.parent)


def read_text(path: Path, label: str) -> str:
    """Read a recipe file: a regular file of at most 256 KiB of UTF-8. Raises RecipeError."""
    try:
        with open_given(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecipeError(f"cannot be read: {reason.lower()}.", place=label) from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"is larger than {MAX_BYTES // 1024} KiB.", place=label, hint=TOO_LARGE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError("is not UTF-8 text.", place=f"{label}:{line}", hint="Save it as UTF-8.") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_ours(path: str) -> bool:
    """Return whether a file comes with finetop."""
    return path.startswith(f"{builtin_folder()}/")


def by_name(value: Any) -> Any:
    """Replace the paths of finetop's own files by builtin:NAME: another machine has them in another folder."""
    if isinstance(value, dict):
        return {key: by_name(item) for key, item in value.items()}
    if isinstance(value, list):
        return [by_name(item) for item in value]
    if isinstance(value, str) and is_ours(value):
        return f"{BUILTIN}{value.removeprefix(f'{builtin_folder()}/')}"
    return value
