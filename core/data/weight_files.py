"""A folder's safetensors, and their hash, which is cached in the home."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput
from finetop.core.runtime import home as home_folder
from finetop.core.runtime.files import read_given, read_own, write_whole

if TYPE_CHECKING:
    from finetop.core.runtime.home import Home


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


def weights_hash(path: Path, home: Home) -> str:
    """Return the sha256 of a folder's safetensors; cached in the home by size and time of each file."""
    files = weight_files(path)
    facts = [[file.name, (state := file.stat()).st_size, state.st_mtime_ns] for file in files]
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    memory = home.models / ".hashes" / f"{place}.json"
    try:
        known = json.loads(read_own(memory))
        if known["files"] == facts:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not computed yet, or damaged: compute it
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(file.name.encode() + b"\0" + hashlib.file_digest(opened, "sha256").digest())
    home_folder.make(home)
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(memory, json.dumps({"files": facts, "sha256": whole.hexdigest()}).encode())
    return whole.hexdigest()
