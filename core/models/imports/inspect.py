"""What a folder made elsewhere contains: an adapter, a full model, or checkpoints of either.

Only JSON is read here, so that a command can report problems at once. No pickle is ever opened.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from finetop.core.data.weight_files import gguf_parts
from finetop.core.errors import BadInput, did_you_mean
from finetop.core.runtime import parts
from finetop.core.runtime.files import open_regular, read_given
from finetop.core.text import plain, quoted

Kind = Literal["adapter", "full", "gguf"]
GGUF_MAGIC = b"GGUF"
CONFIGS: dict[Kind, str] = {"adapter": "adapter_config.json", "full": "config.json"}
_CHECKPOINT = re.compile(r"(?:checkpoint|step)-(\d{1,9})")  # the Trainer's, and ours
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
STATE = "trainer_state.json"
LONGEST_JSON = 256 << 20  # bytes; a trainer's state has about 150 per logged step
# They need more input than a text: a task's number, the type of every token.
UNSCORED = ("MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE", "POLY", "XLORA")


@dataclass(frozen=True)
class FolderModel:
    """One model: its folder, or GGUF file, and its optimizer step (0 if unknown)."""

    step: int
    folder: Path
    kind: Kind


@dataclass(frozen=True)
class ModelFolder:
    """What a folder contains: checkpoints in subfolders, in order of steps, and a model of its own."""

    path: Path
    checkpoints: tuple[FolderModel, ...]
    own: FolderModel | None
    state: Path | None  # trainer_state.json of the newest

    @property
    def newest(self) -> FolderModel:
        """The folder's own model, which is the result of the training; else its last checkpoint."""
        return self.own if self.own is not None else self.checkpoints[-1]

    @property
    def steps(self) -> list[int]:
        """The steps that exist now: a folder with others is a different model."""
        own = [self.own.step] if self.own is not None else []
        return sorted({*(checkpoint.step for checkpoint in self.checkpoints), *own})


class Trained(msgspec.Struct, frozen=True):
    """How another program trained a run: the last step that it reported, the planned steps, and since when."""

    step: int
    steps: int
    since: float  # seconds since 1970


@dataclass(frozen=True)
class AdapterConfig:
    """The facts in an adapter_config.json."""

    peft_type: str  # LORA, IA3 …
    base: str | None  # base_model_name_or_path
    revision: str | None
    settings: dict[str, Any]

    @property
    def method(self) -> str:
        """The method's name in recipes."""
        return "dora" if self.settings.get("use_dora") else self.peft_type.lower().replace("_", "-")


def inspect_folder(path: Path) -> ModelFolder:
    """Return what a folder, or a GGUF file, contains. Raises BadInput if nothing in it can be checked."""
    if path.suffix == ".gguf" and path.is_file():
        return _of_gguf(path, path)
    _require_folder(path)
    inside = [(int(match[1]), folder) for folder, match in _checkpoint_folders(path)]
    kinds = [(step, folder, kind_of(folder)) for step, folder in sorted(inside)]
    checkpoints = tuple(FolderModel(step, folder, kind) for step, folder, kind in kinds if kind is not None)
    kind = kind_of(path)
    if kind is None and not checkpoints:
        if (file := _gguf_in(path)) is not None:
            return _of_gguf(path, file)
        raise BadInput(
            f"{plain(str(path))} holds neither adapter_config.json nor config.json, nor folders checkpoint-…,"
            " nor a GGUF file.",
            hint="Give the folder of a saved adapter or model, or a Trainer's output folder.",
        )
    for checkpoint in checkpoints:
        require_weights(checkpoint)
    own = None
    if kind is not None:
        own = FolderModel(_step_of(path, after=checkpoints[-1].step if checkpoints else 0), path, kind)
        require_weights(own)
    return ModelFolder(path, checkpoints, own, _state_of(path, checkpoints))


def _gguf_in(folder: Path) -> Path | None:
    """Return the GGUF file, or the first part, of a folder without another model; None if it has none.

    Raises BadInput for several, and for one of which parts are missing.
    """
    found = sorted(file for file in folder.glob("*.gguf") if file.is_file())
    files = list({gguf_parts(file)[0]: file for file in found})
    if len(files) > 1:
        names = ", ".join(plain(file.name) for file in files[:3]) + (" …" if len(files) > 3 else "")
        message = f"{plain(str(folder))} holds {len(files)} GGUF models: {names}."
        raise BadInput(
            message, hint=f"Check one: finetop check --model {plain(str(files[0]))} --base ID|FOLDER"
        )
    return files[0] if files else None


def _of_gguf(path: Path, file: Path) -> ModelFolder:
    parts = gguf_parts(file)
    for part in parts:
        require_gguf(part)
    return ModelFolder(path, (), FolderModel(0, parts[0], "gguf"), None)


def models_of(path: Path, trained: Trained) -> ModelFolder:
    """Return the models that a training has written to a folder, without older ones. Raises BadInput, OSError.

    One of its own that names no step has the last of the training; a step that only an older checkpoint has is not its.
    """
    found = inspect_folder(path)
    checkpoints = tuple(model for model in found.checkpoints if written_at(model) >= trained.since)
    own = found.own if found.own is not None and written_at(found.own) >= trained.since else None
    if own is None and not checkpoints:
        raise BadInput(
            f"{plain(str(path))} has no model that is newer than the start of the run.",
            hint=f"If it is the right one: finetop import {plain(str(path))}.",
        )
    if own is not None:
        step = _step_of(own.folder, after=checkpoints[-1].step if checkpoints else 0)
        own = replace(own, step=step or trained.step)
    return ModelFolder(found.path, checkpoints, own, found.state)


def written_at(model: FolderModel) -> float:
    """Return when a model's weights were last written or put there (seconds since 1970). Raises OSError."""
    files = gguf_parts(model.folder) if model.kind == "gguf" else model.folder.glob("*.safetensors")
    facts = [file.stat() for file in files]
    return max((max(stat.st_mtime, stat.st_ctime) for stat in facts), default=0.0)


def require_gguf(path: Path) -> None:
    """Require a GGUF file by its first bytes, and llama.cpp. Raises BadInput, EnvironmentTrouble."""
    try:
        with open_regular(path) as file:
            begins = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise BadInput(
            f"{plain(str(path))} can't be read: {error.strerror}.", hint="Give a GGUF file."
        ) from error
    if begins != GGUF_MAGIC:
        hint = "`finetop export RUN --to gguf` writes one."
        raise BadInput(f"{plain(str(path))} is no GGUF file.", hint=hint)
    parts.require("llama_cpp_py_sync")


def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise BadInput(f"{plain(str(path))} is a file.", hint=f"Give its folder: {plain(str(path.parent))}.")
    beside = _folders_in(path.parent) if path.parent.is_dir() else []
    near = did_you_mean(path.name, [folder.name for folder in beside])
    hint = near if near.startswith("Did") else "Check the spelling."
    raise BadInput(f"no folder {plain(str(path))}.", hint=hint)


def _checkpoint_folders(path: Path) -> list[tuple[Path, re.Match[str]]]:
    return [(folder, match) for folder in _folders_in(path) if (match := _CHECKPOINT.fullmatch(folder.name))]


def _folders_in(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.iterdir() if entry.is_dir()]
    except OSError as error:
        hint = "Check its permissions."
        raise BadInput(f"{plain(str(path))} can't be listed: {error.strerror}.", hint=hint) from error


def kind_of(folder: Path) -> Kind | None:
    """Return whether a folder has an adapter or a full model, by its configuration; None for neither."""
    return next((kind for kind, name in CONFIGS.items() if (folder / name).is_file()), None)


def require_weights(model: FolderModel) -> None:
    """Refuse a folder whose weights are pickled or missing. Raises BadInput."""
    wanted = "adapter_model.safetensors" if model.kind == "adapter" else "*.safetensors"
    if any(file.is_file() for file in model.folder.glob(wanted)):
        return
    pickled = sorted(file.name for pattern in _PICKLED for file in model.folder.glob(pattern))
    weights = [name for name in pickled if "model" in name]
    if weights:
        raise BadInput(
            f"{plain(str(model.folder))} has its weights as {weights[0]}: a pickle, which can run any code when"
            " it is opened.",
            hint="If you trust it, load it and call save_pretrained (it writes safetensors), then give that folder.",
        )
    hint = "Copy it again."
    raise BadInput(f"{plain(str(model.folder))} has no {wanted} beside its {CONFIGS[model.kind]}.", hint=hint)


def read_adapter(folder: Path) -> AdapterConfig:
    """Read an adapter's configuration. Raises BadInput if it is not for a causal language model."""
    file = folder / CONFIGS["adapter"]
    read = read_json(file)
    peft_type, task = read.get("peft_type"), read.get("task_type")
    if not isinstance(peft_type, str) or not peft_type:
        hint = "Save the adapter with PEFT."
        raise BadInput(f"{plain(str(file))}: peft_type is {quoted(peft_type)}.", hint=hint)
    if peft_type.upper() in UNSCORED:
        raise BadInput(
            f"{plain(str(file))}: peft_type {quoted(peft_type)} needs more input than text; such"
            " adapters can't be scored.",
            hint="Others can: LoRA and its variants, IA3, OFT, prompt tuning …",
        )
    if task not in (None, "CAUSAL_LM"):
        hint = "Only causal language models (CAUSAL_LM) can be checked."
        raise BadInput(f"{plain(str(file))}: task_type is {quoted(task)}.", hint=hint)
    base, revision = read.get("base_model_name_or_path"), read.get("revision")
    base, revision = (text if isinstance(text, str) and text else None for text in (base, revision))
    return AdapterConfig(peft_type.upper(), base, revision, settings=read)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BadInput with the file's name."""
    try:
        read = json.loads(read_given(file, LONGEST_JSON))
    except (OSError, ValueError, RecursionError) as error:
        hint = "Copy it again."
        raise BadInput(f"{plain(str(file))} can't be read: {str(error)[:200]}.", hint=hint) from error
    if not isinstance(read, dict):
        raise BadInput(f"{plain(str(file))} is {quoted(read)}; it must be a mapping.", hint="Copy it again.")
    return read


def _state_of(path: Path, checkpoints: tuple[FolderModel, ...]) -> Path | None:
    """Return the trainer state with the longest history: the folder's own, or the newest checkpoint's."""
    own = path / STATE
    newest = (file for checkpoint in reversed(checkpoints) if (file := checkpoint.folder / STATE).is_file())
    files = [file for file in (own, next(newest, own)) if file.is_file()]
    return max(files, key=_global_step, default=None)


def _step_of(folder: Path, *, after: int) -> int:
    """Return the step of a folder's own model, from its trainer state, manifest or name; at least `after`."""
    state, manifest = folder / STATE, folder / "manifest.json"
    named = _CHECKPOINT.fullmatch(folder.name)
    step = 0
    if state.is_file():
        step = _global_step(state)
    elif manifest.is_file():
        step = _count(read_json(manifest).get("step"))
    elif named:
        step = int(named[1])
    return max(step, after)


def _global_step(file: Path) -> int:
    return _count(read_json(file).get("global_step"))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0
