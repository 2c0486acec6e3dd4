"""What a training job refuses before it loads any weights, from config.json alone: asked by the job and by a plan.

    python -m finetop.core.train.rehearsal CONFIG DEVICE HOME [CARD] < the resolved recipe

CARD is the name of a GPU without bfloat16, which this process does not see.

The process answers for those that must not import the training stack: exit code 0 and what moves as a line of JSON;
or the code of an error, and its message and hint as JSON.
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

from finetop.core.errors import BadInput, FinetopError
from finetop.core.models import collectives, config_file, cpu_formats, devices, kernels, load, rehearsed
from finetop.core.models.resolved import Moving, ResolvedModel
from finetop.core.recipe import number_format
from finetop.core.runtime.child import write_line
from finetop.core.runtime.home import Home
from finetop.core.train import methods, objectives, protections, trainer_args

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe


def require(recipe: Recipe, base: ResolvedModel, dtype: str, device: str, home: Home | None = None) -> Moving:
    """Require that a model of this config.json can be trained as the recipe says; return what would move.

    The model's shape is kept in the home, for plans.

    Raises BadInput for a number format, an optimizer, a raw option, a model or a method that does not fit, and
    EnvironmentTrouble for kernels that this machine can't build.
    """
    trainer_args.common(recipe, dtype, device, base.path)
    trainer_args.require_raw(recipe)
    config = config_file.read(base.path / "config.json")
    for _, require_kernel in kernels.requirements(recipe, device, config):
        require_kernel()
    objective = objectives.load(recipe.objective.name)
    if objective.own_model:  # it is another than the causal one
        moving = Moving(shape=objective.causal_shape(recipe.objective.options, base))
    else:
        load.require_text(base.path, f"model.id: {base.id}")
        moving = methods.rehearse(recipe.method.name, recipe.method.options, base)
    protections.require(recipe, base)
    if home is not None:
        rehearsed.keep_shape(recipe, base.path / "config.json", home, moving.shape)
    return moving


def require_number_format(recipe: Recipe, dtype: str, device: str, old_card: str = "") -> None:
    """Refuse a number format that the recipe can't train in on this device. Raises BadInput.

    `old_card` names a GPU without bfloat16 of another process; else the device itself is checked.
    """
    has_bfloat16 = not old_card and devices.has_bfloat16(device)
    card = old_card or (devices.device_kind(device) if device.startswith("cuda:") else device)
    ranks = max(collectives.count(), recipe.budget.gpus or 1)
    on_cpu = device == "cpu"
    given = {"on_cpu": on_cpu, "has_bfloat16": has_bfloat16}
    refusals = number_format.refusals(recipe, dtype, card, **given, ranks=ranks)
    for _, message, hint in refusals:
        raise BadInput(message, hint=hint)


def main(config: str, device: str, home: str, old_card: str = "") -> int:
    """Answer for a recipe on standard input and a config.json; the CPU is measured. Returns the exit code."""
    folder = Path(config).parent
    if Path(config).name == "config.json":
        return answer(folder, device, Home(Path(home)), old_card)
    with tempfile.TemporaryDirectory() as aside:
        shutil.copyfile(config, Path(aside) / "config.json")
        return answer(Path(aside), device, Home(Path(home)), old_card)


def answer(folder: Path, device: str, home: Home, old_card: str = "") -> int:
    """Print the result for a recipe on standard input and a model's folder. Return the exit code."""
    from finetop.core.recipe.load import recipe_from_resolved
    from finetop.core.runtime.job_process import SETTINGS

    os.environ.update({**SETTINGS, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"})
    warnings.simplefilter("ignore")
    devices.import_libraries()
    recipe = recipe_from_resolved(json.load(sys.stdin))
    remote, bits = recipe.model.trust_remote_code, recipe.model.quantize
    base = ResolvedModel(recipe.model.id, folder, None, None, "", "", trust_remote_code=remote, quantize=bits)
    result: Any
    try:
        has_bfloat16 = False if old_card else None
        dtype = devices.number_format(recipe.model.dtype, base.path, device, bfloat16_there=has_bfloat16)
        if device == "cpu" and dtype == "bfloat16":
            cpu_formats.measured(home)  # saves the measurement for the plan, which has no torch
        require_number_format(recipe, dtype, device, old_card)
        result, code = require(recipe, base, dtype, device, home), 0
    except FinetopError as error:
        result, code = {"message": error.message, "hint": error.hint}, error.exit_code
    write_line(result)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
