"""Distillation (arXiv:1503.02531): learn a larger teacher's distribution of each next token of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.models import collectives
from finetop.core.train.objectives.sft import Conversations

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup

POSITIONS = 512  # compared at once: with 49,000 tokens, 100 MB a copy in float32


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is distill."""

    teacher: Annotated[
        str | None,
        Meta(
            description="A model with the same vocabulary: hub id, folder (./, ../, / or ~) or run:NAME.",
            extra={"path": "id"},
        ),
    ] = None
    weight: Annotated[
        float,
        Meta(ge=0, le=1, description="Weight of the teacher's loss; the rest is the loss on the answers."),
    ] = 0.9
    temperature: Annotated[
        float, Meta(gt=0, le=100, description="Softmax temperature; above 1, less likely tokens count more.")
    ] = 1.0
    direction: Annotated[
        Literal["forward", "reverse"],
        Meta(
            description="KL direction: forward covers the teacher's distribution, reverse its likeliest tokens."
        ),
    ] = "forward"
    loss: Annotated[Literal["answers", "all"], Meta(description="Tokens in the loss: answers, or all.")] = (
        "answers"
    )


class Distill(Conversations):
    about = "learn a larger model's token distribution on the answers"
    options = Options
    metrics = {"kl_to_teacher": "kl_to_teacher", "answer_loss": "answer_loss"}

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse a recipe that names no teacher."""
        if not recipe.objective.options.teacher:
            hint = "Set objective.teacher to a larger model of the same family."
            yield "objective.teacher", "objective.teacher: no teacher is named.", hint

    def make_trainer(self, setup: Setup) -> Any:
        """Build TRL's trainer with a distillation loss and a frozen teacher. Raises BadInput for another vocabulary."""
        import torch

        from finetop.core.train.trainers import language, masks

        options: Options = setup.recipe.objective.options
        teacher = load_teacher(setup, options)
        trainer = language.make_trainer(setup)
        # Read once per log line: each read makes the host wait for the GPU.
        batches: dict[str, list[Tensor]] = {}
        log = trainer.log

        def compute_loss(
            model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            loss, kl, own = distilled(model, teacher, inputs, options)
            if model.training:
                batches.setdefault("kl_to_teacher", []).append(kl)
                batches.setdefault("answer_loss", []).append(own)
                # Given the number of tokens in a step, the trainer does not divide the loss: weigh all batches equally.
                loss = loss / trainer.current_gradient_accumulation_steps
            return (loss, {}) if return_outputs else loss

        def with_own(logs: dict[str, float], *rest: Any, **named: Any) -> None:
            if "loss" in logs and batches:
                every = torch.stack([torch.stack(values) for values in batches.values()]).tolist()
                of_ranks = collectives.gathered(every)
                for place, key in enumerate(batches):
                    values = [value for of_rank in of_ranks for value in of_rank[place]]
                    logs[key] = sum(values) / len(values)
                batches.clear()
            log(logs, *rest, **named)

        trainer.compute_loss = compute_loss
        masks.leave_out(trainer)
        trainer.log = with_own
        return trainer


def load_teacher(setup: Setup, options: Options) -> Any:
    """Load the teacher, frozen. Raises BadInput if its vocabulary differs from the student's."""
    from finetop.core.models import load, resolve
    from finetop.core.recipe.schema import Model

    named = Model(id=str(options.teacher), dtype=setup.recipe.model.dtype)
    base = resolve.resolve_model(named, setup.home, setup.events)
    kind = load.torch_dtype(setup.dtype, setup.device)
    teacher, tokenizer = load.load_model(base, kind, setup.device)
    if tokenizer.get_vocab() != setup.tokenizer.get_vocab():
        hint = "Pick a teacher of the same family."
        message = f"objective.teacher: {options.teacher} differs in vocabulary from {setup.base.id}."
        raise BadInput(message, hint=hint)
    return teacher.requires_grad_(False).eval()


def distilled(
    model: Any, teacher: Any, inputs: dict[str, Any], options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch's loss in nats per learned token, and its two parts, detached: divergence and cross-entropy.

    inputs: input_ids, attention_mask and labels [batch, tokens].
    """
    import torch
    from torch.nn.functional import cross_entropy

    labels = inputs["labels"][:, 1:]
    learned = (labels != -100).flatten().nonzero()[:, 0]  # the only place where the host waits for the GPU
    targets = labels.flatten()[learned]
    text = {key: inputs[key] for key in ("input_ids", "attention_mask", "position_ids") if key in inputs}
    student = model(**text, use_cache=False).logits[:, -labels.shape[1] - 1 : -1].flatten(0, 1)[learned]
    text.pop("attention_mask", None)  # rows are padded on the right, which no earlier token attends to
    with torch.no_grad():
        taught = teacher(**text, use_cache=False).logits[:, :-1].flatten(0, 1)[learned]
    width = min(student.shape[-1], taught.shape[-1])  # heads may be padded to a round number
    total_kl, total_own = student.new_zeros(2, dtype=torch.float32)
    for at in range(0, len(student), POSITIONS):
        student_part, teacher_part = student[at : at + POSITIONS].float(), taught[at : at + POSITIONS].float()
        total_own = total_own + cross_entropy(student_part, targets[at : at + POSITIONS], reduction="sum")
        total_kl = total_kl + divergence(student_part[:, :width], teacher_part[:, :width], options)
    count = max(1, len(student))
    loss = options.weight * total_kl / count + (1 - options.weight) * total_own / count
    return loss, total_kl.detach() / count, total_own.detach() / count


def divergence(student: Tensor, teacher: Tensor, options: Options) -> Tensor:
    """Return the sum of KL(teacher || student), or reversed, over [positions, vocabulary], in nats, times T squared."""
    from torch.nn.functional import kl_div, log_softmax

    heat = options.temperature
    log_student, log_teacher = log_softmax(student / heat, -1), log_softmax(teacher / heat, -1)
    if options.direction == "reverse":
        log_student, log_teacher = log_teacher, log_student
    return kl_div(log_student, log_teacher, reduction="sum", log_target=True) * heat**2


PLUGIN = Distill()
