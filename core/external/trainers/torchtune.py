"""torchtune: `tune run RECIPE --config conf.yaml`; its comments name the recipe, or `--with torchtune:RECIPE`."""

from __future__ import annotations

import re
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.external.trainers import Config, Known, Trainer, files, text
from finetop.core.text import plain

_RUN = re.compile(r"tune run ((?:--\w+ \S+ )*)([\w/]+) --config (\S+)")
_PLACE = re.compile(r"\$\{(\w+)\}")
MOST = 4096  # characters of a path: settings that name themselves would grow
_NO_TRAINING = re.compile(r"generate|eval|quantize")


class Torchtune(Trainer):
    about = "torchtune: tune run RECIPE --config CONFIG; torchtune:RECIPE to name it"

    def read(self, config: Config) -> Known:
        ranks, recipe = ((), config.kind) if config.kind else recipe_of(config)
        if _NO_TRAINING.search(recipe):
            hint = "Give the configuration of a recipe that trains."
            raise BadInput(
                f"{plain(config.path.name)} is for {plain(recipe)}, which trains nothing.", hint=hint
            )
        words = ("tune", "run", *ranks, recipe, "--config", str(config.path))
        settings = config.settings
        checkpointer, data = section(settings, "checkpointer"), section(settings, "dataset")
        folder = filled(text(settings, "output_dir") or text(checkpointer, "output_dir"), settings)
        epochs = settings.get("epochs")
        last = f"/epoch_{epochs - 1}" if isinstance(epochs, int) and epochs > 0 else ""
        return Known(
            words=words,
            output=f"{folder.rstrip('/')}{last}" if folder else "",
            base=filled(text(checkpointer, "checkpoint_dir"), settings).rstrip("/"),
            data=files((text(data, "data_files"), text(data, "source")), config.cwd),
            resume=(*words, "resume_from_checkpoint=True"),
        )


def recipe_of(config: Config) -> tuple[tuple[str, ...], str]:
    """Return a recipe and its options for torchrun, as the comments start this configuration. Raises BadInput.

    Comments may start other recipes too, such as one that trains a teacher first.
    """
    starts = [(match[1], match[2], match[3].rpartition("/")[2]) for match in _RUN.finditer(config.text)]
    own = [start for start in starts if start[2].removesuffix(".yaml") == config.path.stem]
    if not own and len({recipe for _, recipe, _ in starts}) == 1:
        own = starts  # a copy under another name
    if not own:
        hint = "Name it: --with torchtune:lora_finetune_single_device."
        raise BadInput(f"{plain(config.path.name)} does not say which recipe it is for.", hint=hint)
    options, recipe, _ = own[0]
    return tuple(options.split()), recipe


def section(settings: dict[str, Any], key: str) -> dict[str, Any]:
    value = settings.get(key)
    return value if isinstance(value, dict) else {}


def filled(value: str, settings: dict[str, Any]) -> str:
    """Replace `${output_dir}` by that setting of the file."""
    for _ in range(3):  # a setting may name another
        value = _PLACE.sub(lambda match: text(settings, match[1]) or match[0], value)[:MOST]
    return value


PLUGIN = Torchtune()
