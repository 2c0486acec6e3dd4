"""What the job would refuse, asked of its own code (core/train/rehearsal.py) in a process with the training stack.

The process takes 6 s of CPU time, nearly all of it imports. An agreement is kept in the home: the same question is
answered at once.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import rehearsed
from finetop.core.models.resolved import Moving
from finetop.core.plugins import METHODS
from finetop.core.recipe import protections
from finetop.core.recipe.load import recipe_to_mapping
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.parts import require
from finetop.core.runtime.processes import boot_id, die_with, python

if TYPE_CHECKING:
    from finetop.core.plan.machine import Machine
    from finetop.core.runtime.home import Home

PATIENCE_S = 120.0  # imports take 3 to 8 s, a shape of 2,000 layers a minute
SECTIONS = ("model", "method", "budget", "protect", "trainer_args")  # that an answer depends on
OF_TRAIN = ("optimizer", "master", "kernels", "compile", "parallel")


def is_needed(recipe: Recipe) -> bool:
    """Return whether the job might refuse settings that only a rehearsal can judge: names, sizes, raw options."""
    method, options = METHODS.load(recipe.method.name), recipe.method.options
    named = [getattr(options, key, ()) for key in ("target_modules", "target_parameters", "modules_to_save")]
    has_names = any(isinstance(names, tuple) and names for names in named)
    is_protected = bool(protections.chosen(recipe))
    is_new = rehearsed.sizes(recipe) is not None
    return not method.any_size or has_names or is_new or is_protected or bool(recipe.trainer_args)


class Rehearsal:
    """An answer that is kept, or a process that began to give it and is waited for where it is needed.

    Raises EnvironmentTrouble if the training stack is not installed.
    """

    def __init__(self, recipe: Recipe, config: Path, machine: Machine, home: Home) -> None:
        device = "cuda" if machine.device == "gpu" else "cpu"
        card = "" if device == "cpu" or machine.has_bfloat16 else machine.name
        mapping = recipe_to_mapping(recipe)
        self.home, self.given, self.key = home, msgspec.json.encode(mapping), ""
        if not recipe.model.trust_remote_code:  # whose files would count too
            asked = [mapping[name] for name in SECTIONS] + [mapping["train"][name] for name in OF_TRAIN]
            asked += [mapping["objective"]["name"], rehearsed.sizes(recipe), device, card]
            asked += [boot_id()] if device == "cpu" else []  # as of what the process measures of a CPU
            self.key = rehearsed.key_of(config, *asked)
        self.kept = rehearsed.kept(home, self.key)
        self.process = None
        if self.kept is None:
            require("torch")
            command = [str(config), device, str(home.root), card]
            self.process = subprocess.Popen(
                python("finetop.core.train.rehearsal", *command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                preexec_fn=die_with(os.getpid()),
            )

    def answer(self) -> Moving:
        """Return what is trained. Raises BadInput or EnvironmentTrouble as the job would."""
        if self.process is None:
            return self.kept or Moving()
        try:
            output, _ = self.process.communicate(self.given, timeout=PATIENCE_S)
            answer = json.loads(output.splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            return Moving()
        finally:
            self.stop()
        if "message" in answer:
            kind = EnvironmentTrouble if self.process.returncode == EnvironmentTrouble.exit_code else BadInput
            raise kind(answer["message"], hint=answer["hint"])
        moving = msgspec.convert(answer, Moving)
        if self.key:
            rehearsed.keep(self.home, self.key, moving)
        return moving

    def stop(self) -> None:
        """End the process, if its answer is no longer needed."""
        if self.process is not None:
            with self.process:
                self.process.kill()
