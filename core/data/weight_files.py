"""A model's weight files, and their hash: whatever reads weights by path knows by it what it read.

A hash is remembered in the home, beside the size, inode and times of each file. While these are the same the files are
not read again; a file that was just written may be written again without a trace in its times, so it ages first.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.runtime import home as home_folder
from finetop.core.runtime.files import read_given, read_own, write_whole
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finetop.core.runtime.home import Home

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")  # the config holds the scale
GGUF_FILE = "model.gguf"  # of a checkpoint that is a GGUF file: the file, or a link to it
# llama.cpp's name of a part of a model.
GGUF_PART = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
MOMENT_S = 0.1  # several ticks of any kernel's clock, by which it dates changes
COARSE_MOMENT_S = 2.1  # of file systems that count whole seconds, or two

AT_ONCE = 8  # files that are read side by side


def weight_files(path: Path) -> list[Path]:
    """Return a folder's safetensors by name. Raises BadInput if its index names one that is missing."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(read_given(index))["weight_map"].values()))
            path.joinpath(*names)  # raises if they are not texts
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(f"{index} is damaged.", hint="Download the model again.") from error
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            hint = "Download it again."
            raise BadInput(f"{path}: {missing[0]} is missing of {len(names)} files.", hint=hint)
        return [path / name for name in names]
    files = sorted(path.glob("*.safetensors"))
    strange = next((file for file in files if not file.is_file()), None)
    if strange is not None:  # reading a pipe or a device would never end
        raise BadInput(f"{strange} is not a regular file.", hint="Copy the model again.")
    return files


def model_hash(folder: Path, home: Home) -> str:
    """Return the hash of a folder's model: an adapter's, a GGUF file's, or its whole weights'. Raises as all."""
    if is_adapter(folder):
        return adapter_hash(folder, home)
    return (
        weights_hash(folder, home)
        if gguf_file(folder) is None
        else _remembered(folder, _model_files(folder), home, _joined)
    )


def weights_hash(path: Path, home: Home) -> str:
    """Return the sha256 of a folder's safetensors. Raises BadInput, EnvironmentTrouble, OSError."""
    return _remembered(path, weight_files(path), home, _named)


def adapter_hash(folder: Path, home: Home) -> str:
    """Return the sha256 of an adapter's weights and settings, scale included. Raises BadInput, EnvironmentTrouble."""
    try:
        return _remembered(folder, _adapter_files(folder), home, _joined)
    except OSError as error:
        name = Path(str(error.filename or folder)).name
        hint = "Pick another checkpoint."
        raise BadInput(f"{folder}: can't read {name}: {error.strerror}.", hint=hint) from error


def gguf_file(checkpoint: Path) -> Path | None:
    """Return the GGUF file that a checkpoint is, of one in parts the first; None for one of safetensors."""
    parts = sorted(checkpoint.glob(f"{GGUF_FILE.removesuffix('.gguf')}-00001-of-*.gguf"))
    return next((file for file in (checkpoint / GGUF_FILE, *parts) if file.is_file()), None)


def gguf_parts(file: Path) -> list[Path]:
    """Return the files of the model that a GGUF file is, or is a part of; llama.cpp opens the first.

    Raises BadInput if a part is missing.
    """
    if (part := GGUF_PART.fullmatch(file.name)) is None:
        return [file]
    prefix, count = part["prefix"], int(part["count"])
    if not 1 <= int(part["number"]) <= count:
        raise BadInput(f"{plain(str(file))} is named as a part that can't be.", hint="Give the first part.")
    parts = [file.with_name(f"{prefix}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    if missing := [plain(part.name) for part in parts if not part.is_file()]:
        names = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        message = (
            f"{plain(str(file))} is one of {count} parts of a model, of which these are missing: {names}."
        )
        raise BadInput(message, hint="Copy them beside it.")
    return parts


def gguf_links(file: Path) -> dict[str, Path]:
    """Return the files of a GGUF model by their names in a checkpoint, as llama.cpp wants them. Raises BadInput."""
    if (part := GGUF_PART.fullmatch(file.name)) is None:
        return {GGUF_FILE: file}
    stem, prefix = GGUF_FILE.removesuffix(".gguf"), part["prefix"]
    return {stem + part.name.removeprefix(prefix): part for part in gguf_parts(file)}


def known_hash(folder: Path, home: Home) -> str | None:
    """Return the hash of a folder's model without reading it: None unless it is as it was hashed."""
    try:
        files = _model_files(folder)
        return _recalled(_memory_of(folder, files, home), _stats(files))
    except (OSError, BadInput):
        return None


def stamp_of(folder: Path) -> str:
    """Return what tells a folder's weight files, or one file, from others in their place, unread; empty without any."""
    try:
        stats = _stats(_model_files(folder) if folder.is_dir() else gguf_parts(folder))
    except (OSError, BadInput):
        return ""
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def bytes_of(folder: Path) -> int:
    """Return the size of a folder's model. Raises BadInput, OSError."""
    return sum(file.stat().st_size for file in _model_files(folder))


def _joined(files: Sequence[Path]) -> str:
    """Hash files as if they were one."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            hashlib.file_digest(opened, lambda: whole)
    return whole.hexdigest()


def _named(files: Sequence[Path]) -> str:
    """Hash files with their names, several at once: one thread would take 10 to 30 s for 16 GB."""
    whole = hashlib.sha256()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for file, digest in zip(files, pool.map(_digest, files), strict=True):
            whole.update(file.name.encode() + b"\0" + digest)
    return whole.hexdigest()


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def is_adapter(folder: Path) -> bool:
    """Return whether a folder is an adapter, by its settings."""
    return (folder / ADAPTER_FILES[0]).is_file()


def _adapter_files(folder: Path) -> list[Path]:
    return [folder / name for name in ADAPTER_FILES]


def _model_files(folder: Path) -> list[Path]:
    if is_adapter(folder):
        return _adapter_files(folder)
    return weight_files(folder) if (file := gguf_file(folder)) is None else gguf_parts(file)


def _remembered(place: Path, files: Sequence[Path], home: Home, read: Callable[[Sequence[Path]], str]) -> str:
    """Return the hash that `read` makes of the files, from the home's memory if they are as they were."""
    memory = _memory_of(place, files, home)
    if (known := _recalled(memory, _stats(files))) is not None:
        return known
    is_settled = _let_age(files)
    before = _stats(files)
    found = read(files)
    if _stats(files) != before:
        hint = "Try again when nothing writes there any more."
        raise EnvironmentTrouble(f"{place.name}: its weights changed while they were read.", hint=hint)
    if is_settled:
        home_folder.make(home)
        with suppress(OSError):  # without room it is hashed again next time
            memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(memory, json.dumps({"files": before, "sha256": found}).encode())
    return found


def _memory_of(place: Path, files: Sequence[Path], home: Home) -> Path:
    # a folder may be hashed as an adapter and as its safetensors alone
    named = "\0".join([str(place.resolve()), *(file.name for file in files)])
    return home.models / ".hashes" / f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.json"


def _stats(files: Sequence[Path]) -> list[list[Any]]:
    """Return what changes with a file's content: whoever sets its other times back can't set ctime."""
    stats = [(file.name, file.stat()) for file in files]
    return [[name, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats]


def _recalled(memory: Path, stats: list[list[Any]]) -> str | None:
    try:
        known = json.loads(read_own(memory))
        return str(known["sha256"]) if known["files"] == stats else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not computed yet, or damaged: compute it


def _let_age(files: Sequence[Path]) -> bool:
    """Wait until a change would show in the files' times. Return False if they were changed in the future."""
    for file in files:
        changed_ns = file.stat().st_ctime_ns
        moment = MOMENT_S if changed_ns % 10**9 else COARSE_MOMENT_S
        left = changed_ns / 1e9 + moment - time.time()
        if left > moment:
            return False
        time.sleep(max(0.0, left))
    return True
