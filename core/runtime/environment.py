"""Environment variables that finetop and its jobs read: invalid ones are refused before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from finetop.core.errors import EnvironmentTrouble

# Libraries silently ignore what they can't read: torch then uses the CPU, or all cores.
_COUNT = (re.compile(r"[1-9][0-9]{0,4}(,[1-9][0-9]{0,4})*"), "a number of threads, such as 4")
WANTED = {
    "OMP_NUM_THREADS": _COUNT,
    "MKL_NUM_THREADS": _COUNT,
    "CUDA_VISIBLE_DEVICES": (
        re.compile(r"(-1|[0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+)(\s*,\s*(-1|[0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+))*|NoDevFiles"),
        "GPUs by number or UUID, such as 0,1",
    ),
    "FINETOP_SPARE": (re.compile(r"[01]"), "0 or 1"),
    "FINETOP_CPU_RANKS": (re.compile(r"[1-9][0-9]{0,2}"), "a number of processes, such as 2"),
}  # fmt: skip


def require_readable(environment: Mapping[str, str] = os.environ) -> None:
    """Raise EnvironmentTrouble if a variable has an invalid value."""
    for name, (shape, description) in WANTED.items():
        value = environment.get(name, "").strip()
        if value and not shape.fullmatch(value):
            from finetop.core.text import quoted  # imported late: the app starts without it

            message = f"{name} is {quoted(value)} in the environment; it must be {description}."
            raise EnvironmentTrouble(message, hint=f"Set it to that, or unset it: unset {name}")
