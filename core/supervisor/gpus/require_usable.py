"""Refuses to queue a job that would get a GPU which torch can't use: it would fail there, or compute on the CPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from finetop.core.runtime import torch_fits
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.state import Supervisor

FIRST_LOOK_S = 10.0  # a driver that no process has open may take seconds to start


async def first_reading(supervisor: Supervisor) -> None:
    """Wait for the first reading of the GPUs, right after the supervisor's start."""
    deadline = time.monotonic() + FIRST_LOOK_S
    while not supervisor.pool.has_looked and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


async def require_usable_gpus(supervisor: Supervisor, recipes: Iterable[Mapping[str, Any]]) -> None:
    """Require a GPU that torch can use, if a job of these recipes would get one here. Raises EnvironmentTrouble.

    Other programs bring a torch of their own, and nodes of a cluster have other GPUs.
    """
    if supervisor.settings.slurm is not None:
        return
    await first_reading(supervisor)
    if not any(recipe.get("command") is None and takes_gpu(recipe) for recipe in recipes):
        return
    own, reading = supervisor.pool, supervisor.pool.seen
    cards = [gpu for gpu in reading.gpus if not gpu.fault and not pool.left_out(supervisor, gpu)]
    judged = (reading.driver, reading.cuda, *(gpu.uuid for gpu in cards))
    if not cards or own.usable == judged:
        return
    found = await aside(partial(torch_fits.misfit, reading, cards))
    if found is not None:
        raise torch_fits.refusal(cards, found)
    own.usable = judged


def takes_gpu(recipe: Mapping[str, Any]) -> bool:
    return (recipe.get("budget") or {}).get("gpus") != 0
