"""Axolotl: `axolotl train conf.yaml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.external.trainers import Known, Trainer, is_here, text

if TYPE_CHECKING:
    from pathlib import Path

OUTPUT = "./model-out"  # its default


class Axolotl(Trainer):
    about = "Axolotl: axolotl train CONFIG"

    def read(self, config: dict[str, Any], path: Path, cwd: Path, kind: str) -> Known:
        words = ("axolotl", "train", str(path))
        sets = config.get("datasets")
        named = (
            [text(entry, "path") for entry in sets if isinstance(entry, dict)]
            if isinstance(sets, list)
            else []
        )
        return Known(
            words=words,
            output=text(config, "output_dir") or OUTPUT,
            base=text(config, "base_model"),
            data=tuple(name for name in named if is_here(name, cwd)),
            resume=(*words, "--auto-resume-from-checkpoints"),
        )


PLUGIN = Axolotl()
