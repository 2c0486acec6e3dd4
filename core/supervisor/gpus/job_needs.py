"""What a job asks of GPUs: what its recipe says, else what a plan from the model's config.json estimates.

Plans are made in a thread of their own, as a model may lie on a file system that hangs. Nothing is loaded or
downloaded; a model that is not here yet has no plan, and its job gets a GPU alone. So does the first of a model that is
no Llama, unless a plan was made before: it keeps what the model consists of.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import FinetopError
from finetop.core.protocol.job_kinds import Sizes
from finetop.core.recipe.dotted import with_settings
from finetop.core.recipe.references import references
from finetop.core.runtime.gpu import GIB, Gpu
from finetop.core.runtime.home import Home
from finetop.core.store import runs
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus.placement import Want

PATIENCE_S = 10.0  # for a plan; then the job gets a whole GPU
DEEPEST = 50  # chain of runs that each started from another run


@dataclass
class Planner:
    """Estimates the memory that jobs need, one at a time, in a thread that starts with the first request."""

    home: Home
    estimates: dict[int, float | None] = field(default_factory=dict)  # job -> GiB; None: unknown
    asked: dict[int, float] = field(default_factory=dict)  # job -> time of the request (monotonic)
    _waiting: queue.SimpleQueue[tuple[Job, dict[str, Any], Gpu]] = field(default_factory=queue.SimpleQueue)

    def ask(self, job: Job, recipe: dict[str, Any], card: Gpu) -> bool:
        """Request an estimate of a job's memory. Return True once `estimates` has it, be it a number or unknown."""
        if job.id not in self.asked:
            if not self.asked:
                threading.Thread(target=self._run, name="plans", daemon=True).start()
            self.asked[job.id] = time.monotonic()
            self._waiting.put((job, recipe, card))
        if time.monotonic() - self.asked[job.id] > PATIENCE_S:
            self.estimates.setdefault(job.id, None)
        return job.id in self.estimates

    def _run(self) -> None:
        while True:
            job, recipe, card = self._waiting.get()
            try:
                self.estimates[job.id] = estimate(self.home, job, recipe, card)
            except FinetopError:
                # the model is not here, or its config can't be read: the job will say so
                self.estimates[job.id] = None
            except Exception:  # a bug: the job must run all the same
                traceback.print_exc(file=sys.stderr)
                self.estimates[job.id] = None


def want_of(planner: Planner, connection: Connection, job: Job, card: Gpu) -> Want | None:
    """Return what a job needs on a machine with such GPUs, or None while that is being estimated."""
    kind = job.kind
    if kind.only_reads(job.args):
        return Want(gpus=0)
    recipe = runs.recipe(connection, job.run_id)
    budget = recipe.get("budget") or {}
    gpus = 1 if budget.get("gpus") is None else int(budget["gpus"])
    if not kind.takes_budget:
        gpus = min(gpus, 1)
    memory_gib = budget.get("memory_gib")
    if gpus == 0 or kind.is_command or (kind.trains_here and memory_gib is not None):
        return Want(gpus, None if memory_gib is None else float(memory_gib))
    if not planner.ask(job, on_base(connection, recipe), card):
        return None
    return Want(gpus, planner.estimates[job.id], is_estimate=True)


def on_base(connection: Connection, recipe: dict[str, Any]) -> dict[str, Any]:
    """Replace a parent run in `model.id` by the model that it started from: both have the same size."""
    for _ in range(DEEPEST):
        parent = references({"model": recipe["model"], "objective": {}}).get("model.id")
        if parent is None or parent.kind != "run" or not parent.name.isdecimal():
            break
        of_parent = runs.recipes(connection, [int(parent.name)]).get(int(parent.name))
        if of_parent is None:
            break  # a rebuild left it out: the job will report that
        recipe = with_settings(recipe, {"model.id": of_parent["model"]["id"]})
    return recipe


def estimate(home: Home, job: Job, resolved: dict[str, Any], card: Gpu) -> float | None:
    """Estimate the memory that a job needs on each such GPU, in GiB, every row as long as the recipe allows.

    None for a model that no process here has built, whose config.json alone does not tell.
    Raises FinetopError for a model whose config.json is not on this machine, or can't be read.
    """
    from finetop.core.models import rehearsed
    from finetop.core.models.resolved import Moving
    from finetop.core.plan import answers, inputs
    from finetop.core.plan.estimate import estimate as plan
    from finetop.core.plan.machine import Machine
    from finetop.core.plan.shape import shape_of
    from finetop.core.plan.workload import Known
    from finetop.core.plugins import METHODS
    from finetop.core.recipe.load import recipe_from_resolved

    recipe = recipe_from_resolved(resolved)
    found = inputs.find_config(recipe.model, home)
    gpus = recipe.budget.gpus or 1 if job.kind.trains_here else 1
    machine = Machine("gpu", card.name, card.total_gib * GIB, has_bfloat16=card.has_bfloat16)
    shape = rehearsed.shape_of(recipe, found.file, home) or shape_of(recipe, found.config)
    if not shape.is_known:
        return None
    estimated = plan(recipe, found.config, machine, Known(moving=Moving(shape=shape)), gpus=gpus)
    weights = next((part.bytes for part in estimated.parts if part.name == "weights"), 0.0)
    if not METHODS.load(recipe.method.name).keeps_base:  # in training also float32 masters
        weights = estimated.parameters * (4.0 if estimated.dtype == "float32" else 2.0)
    copied = answers.copy_of(weights) if recipe.model.engine == "vllm" else 0.0
    sizes = Sizes(estimated.need, weights, copied, estimated.parameters)
    return job.kind.gib(sizes, job.kind.models(job.args))
