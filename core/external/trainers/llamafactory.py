"""LLaMA-Factory: `llamafactory-cli train conf.yaml`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finetop.core.external.trainers import Config, Known, Trainer, files, text, texts
from finetop.core.runtime.files import open_given

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 16 << 20  # bytes of a list of data sets


class LlamaFactory(Trainer):
    about = "LLaMA-Factory: llamafactory-cli train CONFIG"

    def read(self, config: Config) -> Known:
        config.no_kind()
        words = ("llamafactory-cli", "train", str(config.path))
        return Known(
            words=words,
            output=text(config.settings, "output_dir"),
            base=config.required("model_name_or_path"),
            data=files(named_files(config), config.cwd),
            resume=(*words, "resume_from_checkpoint={checkpoint}", "overwrite_output_dir=false"),
        )


def named_files(config: Config) -> Iterator[str]:
    """Yield the files of the data sets, which dataset_info.json names."""
    folder = text(config.settings, "dataset_dir") or "data"
    try:
        with open_given(config.cwd / folder / "dataset_info.json") as file:
            info = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return
    names = [name for value in texts(config.settings.get("dataset")) for name in value.split(",")]
    for name in names if isinstance(info, dict) else ():
        entry = info.get(name.strip())
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            yield f"{folder}/{entry['file_name']}"


PLUGIN = LlamaFactory()
