"""Notes of a plan on how its numbers were found: what was assumed, and what the run will not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plan import schedule
from finetop.core.plan.schedule import extras_of
from finetop.core.plan.workload import attention_of, dtype_of, on_cpu_in, saved_in
from finetop.core.recipe import number_format, protections as recipe_protections
from finetop.core.recipe.optimizers import OPTIMIZERS, STATES_32BIT
from finetop.core.recipe.parallel import of_ranks
from finetop.core.runtime import compiler
from finetop.core.wording.units import gib_of

if TYPE_CHECKING:
    from finetop.core.models.shape import Shape
    from finetop.core.plan.machine import Machine
    from finetop.core.plan.memory import Workload
    from finetop.core.plan.workload import Known
    from finetop.core.recipe.schema import Recipe

TOLD_SHARE = 0.01  # of the trained numbers: a larger 32-bit share of an 8-bit optimizer is noted


def notes(
    recipe: Recipe, shape: Shape, work: Workload, known: Known, machine: Machine, ranks: int = 1
) -> list[str]:
    """Return notes on how the numbers were found."""
    lines = [f"{message} {hint}" for _, message, hint in (of_ranks(recipe, ranks) if ranks > 1 else ())]
    lines += [known.note] if known.note else []
    if not shape.is_known:
        named = f"family {shape.family}" if shape.family else "a config without model_type"
        lines.append(f"{named} is unknown: estimated as a Llama of the same size.")
    if not work.trained.is_known:
        lines.append(f"method {recipe.method.name} has no formula: estimated as LoRA.")
    if recipe_protections.chosen(recipe).get("mask_surprising") is not None:
        lines.append(
            "protect.mask_surprising drops rows in which the base finds every token too unlikely: the job counts them "
            "before its first step, and ends there if no row is left."
        )
    if OPTIMIZERS[recipe.train.optimizer].in_8_bits and work.trained.wide > work.trained.numbers * TOLD_SHARE:
        wide = work.trained.wide * STATES_32BIT
        lines.append(
            f"{recipe.train.optimizer} keeps its state of the embeddings in 32 bits: {gib_of(wide)} of the "
            f"{gib_of(work.trained.numbers * work.optimizer_bytes)} GiB of optimizer state."
        )
    extras = extras_of(recipe.objective.name)
    if not extras.is_known:
        lines.append(f"objective {recipe.objective.name} has no formula: estimated as sft.")
    if work.frozen_models and extras.writes:
        lines.append("the reward model is assumed to be as large as the trained one.")
    if extras.writes:
        lines.append("answers are assumed to have objective.max_new_tokens tokens.")
    if extras.teacher and known.teacher is None:
        lines.append("the teacher is assumed to be as large as the model: its config.json is not here.")
    if known.lengths is None:
        lines.append(f"no data file was read: every row is assumed to have {recipe.data.max_tokens} tokens.")
    elif not known.lengths.is_whole:
        lines.append("some sources are not local files: rows, tokens and time leave them out.")
    lines += [f"{sentence}." for sentence in known.lengths.unused] if known.lengths is not None else []
    dtype, on_cpu = dtype_of(recipe, shape, machine), machine.device == "cpu"
    wants_16 = on_cpu and recipe.model.dtype in ("auto", "bfloat16")
    if dtype == "float16":
        there = machine.has_bfloat16
        format_notes = number_format.float16_warnings(
            recipe, saved_in(shape), shape.family, machine.name, has_bfloat16=there
        )
        lines += [f"{note}." for note in format_notes]
    elif wants_16 and not machine.has_bfloat16:
        lines.append("this CPU has no arithmetic for bfloat16: float32 is used.")
    elif wants_16:
        unknown = "the first run measures whether bfloat16 is faster than float32 on this CPU; this plan assumes so."
        why = on_cpu_in("bfloat16", recipe, shape, machine)[1]
        lines.append(f"{why}." if why else unknown)
    of_tokens = schedule.flops_per_token(shape, work.trained, checkpointing=work.checkpointing)
    of_tokens *= work.batch_size * work.sequence
    if work.trained.batch_flops > of_tokens:
        lines.append(
            f"{recipe.method.name} spends more on whole matrices in each batch than on its tokens: a larger "
            "train.batch_size takes hardly longer."
        )
    if known.moving.experts and work.trained.beside:
        lines.append(
            f"{recipe.method.name} does not train the experts, {known.moving.experts / shape.parameters:.0%} of the "
            "weights; lora does, with method.target_parameters (docs/models.md)."
        )
    lines += [compiler.without_triton(machine.lacks)] if machine.lacks else []
    missed = attention_of(recipe, shape, on_gpu=machine.device == "gpu", flash=machine.has_bfloat16)[1]
    lines += [f"{missed}."] if missed else []
    positions = shape.max_positions
    if positions and recipe.data.max_tokens > positions:
        lines.append(f"data.max_tokens exceeds the model's {positions} positions.")
    return lines
