"""torchtune: `tune run RECIPE --config conf.yaml`; its comments name the recipe, or `--with torchtune:RECIPE`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.external.trainers import Known, Trainer, is_here, text

if TYPE_CHECKING:
    from pathlib import Path

_RUN = re.compile(r"tune run ((?:--\w+ \S+ )*)(\w+) --config")
_PLACE = re.compile(r"\$\{(\w+)\}")


class Torchtune(Trainer):
    about = "torchtune: tune run RECIPE --config CONFIG, as torchtune:RECIPE"

    def read(self, config: dict[str, Any], path: Path, cwd: Path, kind: str) -> Known:
        match = _RUN.search(path.read_text(encoding="utf-8", errors="replace"))
        recipe = kind or (match[2] if match else "")
        if not recipe:
            raise BadInput(
                f"{path.name} does not say which recipe it is for.",
                hint="Name it: --with torchtune:lora_finetune_single_device.",
            )
        ranks = tuple(match[1].split()) if match and not kind else ()
        words = ("tune", "run", *ranks, recipe, "--config", str(path))
        checkpointer, data = section(config, "checkpointer"), section(config, "dataset")
        folder = filled(text(config, "output_dir") or text(checkpointer, "output_dir"), config)
        epochs = config.get("epochs")
        last = f"/epoch_{epochs - 1}" if isinstance(epochs, int) and epochs > 0 else ""
        files = (text(data, "data_files"), text(data, "source"))
        return Known(
            words=words,
            output=f"{folder.rstrip('/')}{last}" if folder else "",
            base=filled(text(checkpointer, "checkpoint_dir"), config).rstrip("/"),
            data=tuple(name for name in files if is_here(name, cwd)),
            resume=(*words, "resume_from_checkpoint=True"),
        )


def section(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def filled(value: str, config: dict[str, Any]) -> str:
    """Replace `${output_dir}` by that setting of the file."""
    return _PLACE.sub(lambda match: text(config, match[1]) or match[0], value)


PLUGIN = Torchtune()
