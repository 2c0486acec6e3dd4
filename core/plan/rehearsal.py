"""What the job would refuse, tested by its own code (core/train/rehearsal.py) in a process with the training stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models.resolved import Moving
from finetop.core.recipe.load import recipe_to_mapping
from finetop.core.runtime.processes import die_with

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.plan.machine import Machine
    from finetop.core.recipe.schema import Recipe

PATIENCE_S = 120.0  # imports take 3 to 8 s, a shape of 2,000 layers a minute


class Rehearsal:
    """A process that computes an answer; only `answer` waits for it."""

    def __init__(self, recipe: Recipe, config: Path, machine: Machine) -> None:
        device = "cuda" if machine.device == "gpu" else "cpu"
        command = [
            sys.executable,
            "-m",
            "finetop.core.train.rehearsal",
            str(config),
            device,
            str(machine.home or ""),
            "" if machine.device == "cpu" or machine.has_bfloat16 else machine.name,
        ]
        self.given = msgspec.json.encode(recipe_to_mapping(recipe))
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with(os.getpid()),
        )

    def answer(self) -> Moving:
        """Return what is trained. Raises BadInput or EnvironmentTrouble as the job would."""
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
        return msgspec.convert(answer, Moving)

    def stop(self) -> None:
        """End the process, if its answer is no longer needed."""
        self.process.kill()
        self.process.wait()
