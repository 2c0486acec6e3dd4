"""LLaMA-Factory: `llamafactory-cli train conf.yaml`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from finetop.core.external.trainers import Known, Trainer, is_here, text

if TYPE_CHECKING:
    from pathlib import Path


class LlamaFactory(Trainer):
    about = "LLaMA-Factory: llamafactory-cli train CONFIG"

    def read(self, config: dict[str, Any], path: Path, cwd: Path, kind: str) -> Known:
        words = ("llamafactory-cli", "train", str(path))
        return Known(
            words=words,
            output=text(config, "output_dir"),
            base=text(config, "model_name_or_path"),
            data=files_of(config, cwd),
            resume=(*words, "resume_from_checkpoint=true", "overwrite_output_dir=false"),
        )


def files_of(config: dict[str, Any], cwd: Path) -> tuple[str, ...]:
    """Return the local files of the data sets, which dataset_info.json names."""
    folder = text(config, "dataset_dir") or "data"
    try:
        info = json.loads((cwd / folder / "dataset_info.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    names = config.get("dataset")
    listed = names.split(",") if isinstance(names, str) else names if isinstance(names, list) else []
    entries = (info.get(str(name).strip()) for name in listed) if isinstance(info, dict) else ()
    files = [
        f"{folder}/{entry['file_name']}"
        for entry in entries
        if isinstance(entry, dict) and "file_name" in entry
    ]
    return tuple(file for file in files if is_here(file, cwd))


PLUGIN = LlamaFactory()
