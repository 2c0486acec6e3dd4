"""What a training job refuses before it loads any weights, from config.json alone; used by the job and by a plan.

    python -m finetop.core.train.rehearsal CONFIG DEVICE [HOME] [CARD] < the resolved recipe

CARD is the name of a GPU without bfloat16 that is not visible to this process.

The process serves callers that must not import the training stack: on success it prints the counts of trained weights
as a line of JSON and exits with 0; else it prints an error's message and hint as JSON and exits with its code.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput, FinetopError
from finetop.core.models import collectives, config_file, cpu_formats, devices, kernels, load
from finetop.core.models.resolved import Moving, ResolvedModel
from finetop.core.recipe import number_format
from finetop.core.runtime.home import Home
from finetop.core.train import methods, objectives, protections, trainer_args

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe


def require(recipe: Recipe, base: ResolvedModel, dtype: str, device: str) -> Moving:
    """Check that a model of this config.json can be trained as the recipe says, and count what would be trained.

    Raises BadInput for a number format, an optimizer, a raw option, a model or a method that does not fit, and
    EnvironmentTrouble for kernels that this machine can't build.
    """
    trainer_args.common(recipe, dtype, device, base.path)
    trainer_args.require_raw(recipe)
    for _, require_kernel in kernels.requirements(
        recipe, device, config_file.read(base.path / "config.json")
    ):
        require_kernel()
    moving = Moving()
    if not objectives.load(recipe.objective.name).own_model:
        load.require_text(base.path, f"model.id: {base.id}")
        moving = methods.rehearse(recipe.method.name, recipe.method.options, base)
    protections.require(recipe, base)
    return moving


def require_number_format(recipe: Recipe, dtype: str, device: str, old_card: str = "") -> None:
    """Refuse a number format that the recipe can't train in on this device. Raises BadInput.

    `old_card` names a GPU without bfloat16 of another process; else the device itself is checked.
    """
    has_bfloat16 = not old_card and devices.has_bfloat16(device)
    card = old_card or (devices.device_kind(device) if device.startswith("cuda:") else device)
    ranks = max(collectives.count(), recipe.budget.gpus or 1)
    refusals = number_format.refusals(
        recipe, dtype, card, on_cpu=device == "cpu", has_bfloat16=has_bfloat16, ranks=ranks
    )
    for _, message, hint in refusals:
        raise BadInput(message, hint=hint)


def main(config: str, device: str, home: str = "", old_card: str = "") -> int:
    """Check a recipe on standard input with a config.json; with a home, measure the CPU too. Return the exit code."""
    folder = Path(config).parent
    if Path(config).name == "config.json":
        return answer(folder, device, home, old_card)
    with tempfile.TemporaryDirectory() as aside:
        shutil.copyfile(config, Path(aside) / "config.json")
        return answer(Path(aside), device, home, old_card)


def answer(folder: Path, device: str, home: str, old_card: str = "") -> int:
    """Print the result for a recipe on standard input and a model's folder. Return the exit code."""
    from finetop.core.recipe.load import recipe_from_resolved
    from finetop.core.runtime.job_process import SETTINGS

    os.environ.update({**SETTINGS, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"})
    warnings.simplefilter("ignore")
    devices.import_libraries()
    recipe = recipe_from_resolved(json.load(sys.stdin))
    base = ResolvedModel(
        recipe.model.id,
        folder,
        None,
        None,
        "",
        "",
        trust_remote_code=recipe.model.trust_remote_code,
        quantize=recipe.model.quantize,
    )
    result: Any
    try:
        has_bfloat16 = False if old_card else None
        dtype = devices.number_format(recipe.model.dtype, base.path, device, bfloat16_there=has_bfloat16)
        if home and device == "cpu" and dtype == "bfloat16":
            cpu_formats.measured(Home(Path(home)))  # saves the measurement for the plan, which has no torch
        require_number_format(recipe, dtype, device, old_card)
        result, code = require(recipe, base, dtype, device), 0
    except FinetopError as error:
        result, code = {"message": error.message, "hint": error.hint}, error.exit_code
    print(msgspec.json.encode(result).decode(), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
