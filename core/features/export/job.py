"""The export job: reads which model is to be written where, and in which format."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from finetop.core.check.tasks.suite import general_text
from finetop.core.errors import BadInput
from finetop.core.features.export import judge
from finetop.core.features.export.adapter import export_adapter
from finetop.core.features.export.export import ExportRequest, Remedied, export
from finetop.core.features.export.gguf import export_gguf
from finetop.core.features.remedies.messages import candidate_of
from finetop.core.models import devices
from finetop.core.models.llama_cpp.quants import quants_of
from finetop.core.protocol.events import Ended
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.job import Job
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.job_process import silence_libraries

PACKAGES = ("finetop", "torch", "transformers", "peft", "gguf", "llama-cpp-py-sync")
IF_STOPPED = "asked to stop; nothing was written"


def work(job: Job) -> Ended:
    """Log the device and number format, then export."""
    silence_libraries()
    device = devices.open_device(job.gpu_gib)
    request = request_of(job, device)
    job.started(devices.describe_device(device), request.dtype, PACKAGES)
    text = general_text(request.recipe, job.home) or general_text(without_suite(request.recipe), job.home)
    if request.quants:
        export_gguf(request, text, job.home, job.events, judge.prepare)
    else:
        write = export_adapter if request.adapter else export
        write(request, text, job.home, job.events)
    return Ended("finished")


def without_suite(recipe: Recipe) -> Recipe:
    """Return a recipe without a suite: the general text is then that of quick."""
    return replace(recipe, check=replace(recipe.check, general=None))


def request_of(job: Job, device: str) -> ExportRequest:
    """Read what to export and to where. Raises BadInput."""
    step = job.args.get("step")
    if not isinstance(step, int):
        raise BadInput(f"job.json: args.step is {step!r}.", hint="Give a checkpoint's step.")
    return ExportRequest(
        recipe=job.recipe(),
        run_name=job.spec.run_name,
        step=step,
        checkpoint=job.inside(job.args.get("checkpoint")),
        to=job.absolute("to"),
        dtype=str(job.args.get("dtype", "auto")),
        device=device,
        remedy=remedy_of(job.spec),
        adapter=job.args.get("adapter") is True,
        quants=tuple(quants_of(str(job.args["quants"]))) if job.args.get("quants") else (),
        general=general_of(job.args.get("general")),
        unasked=str(job.args.get("unasked", "")),
        anyway=job.args.get("anyway") is True,
        warning=str(job.args.get("warning", "")),
        verdict=str(job.args.get("verdict", "")),
    )


def general_of(settings: object) -> dict[str, Any] | None:
    """Read how the run was checked. Raises BadInput."""
    if settings is None or isinstance(settings, dict):
        return settings
    raise BadInput(f"job.json: args.general is {settings!r}.", hint="Give the settings of check.general.")


def remedy_of(spec: JobSpec) -> Remedied | None:
    """Read which remedy's model to export, and the hash of its scored weights. Raises BadInput."""
    facts = spec.args.get("remedy")
    if facts is None:
        return None
    if not isinstance(facts, dict):
        raise BadInput(f"job.json: args.remedy is {facts!r}.")
    return Remedied(candidate_of(facts), str(facts.get("weights", "")))
