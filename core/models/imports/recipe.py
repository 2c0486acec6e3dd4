"""The recipe of an imported run: its base, the method that it was tuned with, its rows, and its check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.data import files, hub
from finetop.core.data.weight_files import GGUF_PART
from finetop.core.errors import BadInput
from finetop.core.models.imports.inspect import AdapterConfig, ModelFolder, inspect_folder, read_adapter
from finetop.core.plugins import METHODS
from finetop.core.protocol.runs import IMPORTED
from finetop.core.recipe.load import Loaded, resolve_text
from finetop.core.runtime.files import given_path
from finetop.core.text import plain

OBJECTIVE = IMPORTED  # the training objective is unknown


@dataclass(frozen=True)
class ImportRequest:
    """How to import a folder. Paths are relative to `cwd`; an empty text means not given."""

    path: str
    cwd: Path
    base: str = ""
    name: str = ""
    data: tuple[str, ...] = ()
    quantize: str = "none"
    general: Mapping[str, Any] = field(default_factory=dict)  # settings of check.general
    at_end: bool = False


@dataclass(frozen=True)
class Adopted:
    """The contents of a folder, with the recipe of its run."""

    folder: ModelFolder
    recipe: Loaded


def adopted(request: ImportRequest) -> Adopted:
    """Inspect a folder and write the recipe of its run. Raises BadInput that says why it can't be imported."""
    path = (request.cwd / given_path(request.path)).resolve()
    model_folder = inspect_folder(path)
    adapter = read_adapter(model_folder.newest.folder) if model_folder.newest.kind == "adapter" else None
    base, revision = base_of(request, model_folder, adapter)
    name = request.name or name_of(path)
    model = {"id": base, "revision": revision, "dtype": "saved", "quantize": request.quantize}
    check: dict[str, Any] = {"at_end": request.at_end, "general": dict(request.general)}
    data = {"train": [{"path": rows_file(file, request.cwd)} for file in request.data]}
    sections = {
        "recipe": 1,
        "name": name,
        "about": f"made elsewhere: {plain(str(path))}"[:1000],
        "model": model,
        "method": {"name": model_folder.newest.kind} if adapter is None else method_of(adapter),
        "objective": {"name": OBJECTIVE},
        "data": data,
        "check": check,
        "drift": {"every": None},
    }
    lines = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in sections.items()]
    text = "\n".join(("# A model that was made elsewhere: nothing here was trained by finetop.", *lines, ""))
    return Adopted(model_folder, resolve_text(text, cwd=request.cwd, label="import", to_train=False))


def base_of(
    request: ImportRequest, model_folder: ModelFolder, adapter: AdapterConfig | None
) -> tuple[str, str | None]:
    """Return the base model, as an absolute folder or a hub id, and its revision. Raises BadInput."""
    place = plain(str(model_folder.newest.folder))
    if request.base:
        folder = request.cwd / given_path(request.base)
        if hub.is_local(request.base) or folder.is_dir():
            require_model(folder, "--base")
            return str(folder.resolve()), None
        return request.base, None
    if adapter is None:
        hint = "Add --base ID|FOLDER."
        what = "a GGUF file" if model_folder.newest.kind == "gguf" else "a full model"
        raise BadInput(f"{place} is {what} that does not name its base model.", hint=hint)
    if adapter.base is None:
        raise BadInput(f"{place}: adapter_config.json names no base model.", hint="Add --base ID|FOLDER.")
    folder = request.cwd / given_path(adapter.base)
    if folder.is_dir():
        require_model(folder, "adapter_config.json")
        return str(folder.resolve()), None
    if hub.is_local(adapter.base) or adapter.base.count("/") > 1:
        message = f"{place} was tuned from {plain(adapter.base)}, and that folder is not here."
        raise BadInput(message, hint="Say where it is: --base ID|FOLDER.")
    return adapter.base, adapter.revision


def require_model(folder: Path, who: str) -> None:
    """Refuse a base that is not a model's folder. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(f"{who}: no folder {plain(str(folder))}.", hint="Check the spelling.")
    if not (folder / "config.json").is_file():
        message = f"{who}: {plain(str(folder))} holds no config.json: it is not a whole model."
        raise BadInput(message, hint="Give the folder of a saved model: --base ID|FOLDER.")


def method_of(adapter: AdapterConfig) -> dict[str, Any]:
    """Return an adapter's method, with the settings that a recipe can express."""
    if adapter.method not in METHODS.names():
        return {"name": adapter.method}
    method = METHODS.load(adapter.method)
    settings = {ours: adapter.settings.get(theirs) for ours, theirs in method.spelled.items()}
    if not isinstance(settings.get("target_modules"), list):
        settings["target_modules"] = None  # a pattern
    options = {key: value for key, value in settings.items() if value is not None}
    try:
        msgspec.convert(options, method.options)
    except msgspec.ValidationError:
        options = {}  # PEFT accepts more than our settings do
    return {"name": adapter.method, **options}


def rows_file(file: str, cwd: Path) -> str:
    """Return the absolute path of a file of training rows. Raises BadInput if it does not exist."""
    path = (cwd / given_path(file)).absolute()
    if not files.is_there(path):
        hint = "Give a file of rows, or a folder."
        raise BadInput(f"--data: there is no file {plain(str(path))}.", hint=hint)
    return str(path)


def name_of(path: Path) -> str:
    """Return a run's name after its folder; for checkpoint-500 after the parent folder too."""
    part = GGUF_PART.fullmatch(path.name)
    text = path.name.removesuffix(".gguf") if part is None else part["prefix"]
    if text.startswith(("checkpoint-", "step-")) and path.parent.name:
        text = f"{path.parent.name}-{text}"
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in text)
    safe = safe.strip(".-")[:60]
    return f"model-{safe}" if not safe or safe.isdigit() else safe
