"""TRL's own command line: `trl sft --config conf.yaml`; `--with trl:dpo` for another of its trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.external.trainers import Known, Trainer, is_here, text

if TYPE_CHECKING:
    from pathlib import Path

OUTPUT = "trainer_output"  # its default


class Trl(Trainer):
    about = "TRL: trl sft --config CONFIG; trl:dpo for trl dpo"

    def read(self, config: dict[str, Any], path: Path, cwd: Path, kind: str) -> Known:
        words = ("trl", kind or "sft", "--config", str(path))
        mixed = config.get("datasets")
        entries = [entry for entry in mixed if isinstance(entry, dict)] if isinstance(mixed, list) else []
        named = [text(config, "dataset_name"), *(text(entry, "path") for entry in entries)]
        files = [entry.get("data_files") for entry in entries]
        return Known(
            words=words,
            output=text(config, "output_dir") or OUTPUT,
            base=text(config, "model_name_or_path"),
            data=tuple(name for name in (*named, *files) if isinstance(name, str) and is_here(name, cwd)),
            resume=(*words, "--resume_from_checkpoint", "true"),
        )


PLUGIN = Trl()
