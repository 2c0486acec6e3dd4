"""The trainer of PPO: rollouts, passes of optimizer steps over them, evaluation, and what is needed to go on.

It has the face of transformers' Trainer as far as finetop looks at it, so that metrics, samples, drift, checkpoints,
checks and stopping are the same. A step is an optimizer step; a rollout is drawn before the first of its steps. All
random numbers follow from the seed and the rollout's number, so that a resumed run draws what it would have drawn.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import TrainerControl, TrainerState, get_scheduler
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from finetop.core.train.keeping import state_files
from finetop.core.train.ppo import advantages, kl, losses, rollouts, scores
from finetop.core.train.ppo.policy import Reader, Reference, switch_dropout_off
from finetop.core.train.ppo.rollouts import Batch
from finetop.core.train.ppo.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase, TrainingArguments

    from finetop.core.train.ppo.scores import Normalize
    from finetop.core.train.rows.examples import PromptExample
    from finetop.core.train.trainers.reward_sum import Payer

PROMPTS, ANSWERS, ORDER, EVALUATION = range(4)  # what random numbers are for


@dataclass(frozen=True)
class Settings:
    """How PPO goes about it; core/objectives/ppo.py says what each is."""

    max_new_tokens: int
    temperature: float
    minibatches: int
    passes: int
    clip: float
    value_clip: float | None
    value_weight: float
    value_learning_rate: float | None
    separate_value: bool
    entropy_weight: float
    gamma: float
    lam: float
    whiten: bool
    kl_coefficient: float
    kl_target: float | None
    kl_horizon: int
    normalize: Normalize
    reward_limit: float | None
    no_end_penalty: float


class PolicyTrainer:
    """Trains a policy by PPO. `model` is the policy, a transformers model or a PEFT model around one."""

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        settings: Settings,
        tokenizer: PreTrainedTokenizerBase,
        train: Sequence[PromptExample],
        evaluation: Sequence[PromptExample],
        payer: Payer,
        hooks: Sequence[Any],
        *,
        adapter_keeps_base: bool,
    ) -> None:
        self.model = model
        self.args = arguments
        self.settings = settings
        self.tokenizer = tokenizer
        self.train_dataset = train
        self.eval_dataset = evaluation
        self.payer = payer
        self.device = next(model.parameters()).device
        switch_dropout_off(model)
        self.reference = Reference(model, settings.temperature, adapter_keeps_base=adapter_keeps_base)
        self.reader = Reader(model, settings.temperature)
        width = self.reader.head.weight.shape[-1]
        self.value = Value(width, separate=settings.separate_value).to(self.device)
        self.ends = rollouts.ends_of(model, tokenizer)
        self.state = TrainerState()
        self.control = TrainerControl()
        self.callback_handler = CallbackHandler([DefaultFlowCallback(), *hooks], model, tokenizer, None, None)
        self.optimizer: Any = None  # None: the one that the arguments name
        self.value_optimizer: Any = None
        self.schedules: list[Any] = []
        self.drawn = 0  # prompts so far
        self.rollout_number = 0
        self.rollout: list[Batch] = []
        self.order: list[int] = []  # of the rollout's batches, those that are still to be learned from
        self.coefficient = settings.kl_coefficient
        self.seen = scores.Seen()
        self.tokens = 0

    # What transformers' callbacks and finetop call.

    def add_callback(self, callback: Any) -> None:
        self.callback_handler.add_callback(callback)

    def train(self) -> None:
        """Train up to `args.max_steps`, or until a callback asks to stop."""
        self._prepare()
        call, state = self.callback_handler, self.state
        self.control = call.on_train_begin(self.args, state, self.control)
        self.model.train()
        while state.global_step < self.args.max_steps and not self.control.should_training_stop:
            self.control = call.on_step_begin(self.args, state, self.control)
            told = {} if self.order else self._roll_out()
            told |= self._learn()
            self.control = call.on_step_end(self.args, state, self.control)
            self._log(told)
            if self.control.should_evaluate:
                self.evaluate()
        self.control = call.on_train_end(self.args, state, self.control)

    def evaluate(self) -> dict[str, float]:
        """Draw an answer to each evaluation prompt, the same random numbers each time; eval_loss is -eval_reward."""
        with torch.no_grad():
            found = self._measure()
        self._log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def save_state(self, folder: Path) -> None:
        """Write all but the policy's weights that training needs to go on, bit for bit, to a folder that is there."""
        tree = {
            "step": self.state.global_step,
            "drawn": self.drawn,
            "rollout_number": self.rollout_number,
            "coefficient": self.coefficient,
            "seen": asdict(self.seen),
            "tokens": self.tokens,
            "order": self.order,
            "rollout": [batch.tensors() for batch in self.rollout] if self.order else [],
            "optimizer": self.optimizer.state_dict()["state"],
            "value": self.value.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict()["state"],
        }
        state_files.save(tree, folder)

    def load_state(self, folder: Path) -> None:
        """Take up what `save_state` wrote, before `train`; the arguments say the rates. Raises EnvironmentTrouble."""
        tree = state_files.load(folder)
        self.state.global_step = tree["step"]
        self.drawn, self.rollout_number = tree["drawn"], tree["rollout_number"]
        self.coefficient, self.seen = tree["coefficient"], scores.Seen(**tree["seen"])
        self.tokens, self.order = tree["tokens"], list(tree["order"])
        self.rollout = [Batch(**tensors).to(self.device) for tensors in tree["rollout"]]
        self._make_optimizers()
        self.value.load_state_dict(tree["value"])
        for optimizer, saved in (
            (self.optimizer, tree["optimizer"]),
            (self.value_optimizer, tree["value_optimizer"]),
        ):
            fresh = optimizer.state_dict()
            optimizer.load_state_dict({"state": saved, "param_groups": fresh["param_groups"]})

    # How it begins.

    def _prepare(self) -> None:
        arguments, state = self.args, self.state
        self._make_optimizers()
        state.max_steps = arguments.max_steps
        state.compute_steps(arguments, arguments.max_steps)
        state.num_train_epochs = math.ceil(self._epochs(arguments.max_steps))
        state.train_batch_size = arguments.per_device_train_batch_size
        warmup = arguments.get_warmup_steps(arguments.max_steps)
        self.schedules = [
            get_scheduler(arguments.lr_scheduler_type, optimizer, warmup, arguments.max_steps)
            for optimizer in (self.optimizer, self.value_optimizer)
        ]
        for schedule in self.schedules:
            _set_step(schedule, state.global_step)
        if arguments.activation_checkpointing:
            self.model.activation_checkpointing_enable(
                activation_checkpointing_kwargs=arguments.activation_checkpointing_kwargs
            )
        self.callback_handler.optimizer = self.optimizer
        self.callback_handler.lr_scheduler = self.schedules[0]

    def _make_optimizers(self) -> None:
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.model, self.args)
        if self.value_optimizer is None:
            rate = self.settings.value_learning_rate or self.args.learning_rate
            self.value_optimizer = torch.optim.AdamW(self.value.parameters(), rate, weight_decay=0.0)

    @property
    def _batches(self) -> int:
        """How many batches a rollout has."""
        return int(self.args.gradient_accumulation_steps * self.settings.minibatches)

    def _epochs(self, steps: int) -> float:
        rows = steps * self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        return float(rows / self.settings.passes / len(self.train_dataset))

    def _mixed(self) -> Any:
        """Compute in bfloat16 where the arguments say so, as transformers' trainer does."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.args.bf16 else nullcontext()

    # A rollout.

    def _next_prompts(self, count: int) -> list[PromptExample]:
        """Take the next prompts of an order that the seed draws for each epoch."""
        size = len(self.train_dataset)
        taken: list[PromptExample] = []
        for number in range(self.drawn, self.drawn + count):
            epoch, place = divmod(number, size)
            if not taken or place == 0:
                order = _permutation(size, seed_of(self.args.seed, PROMPTS, epoch))
            taken.append(self.train_dataset[order[place]])
        self.drawn += count
        return taken

    def _answers(self, prompts: Sequence[PromptExample], seed: int) -> list[list[int]]:
        with self._mixed():
            return rollouts.draw(
                self.model,
                [one.prompt_ids for one in prompts],
                ends=self.ends,
                padding=int(self.tokenizer.pad_token_id),
                longest=self.settings.max_new_tokens,
                temperature=self.settings.temperature,
                together=self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps,
                seed=seed,
            )

    def _roll_out(self) -> dict[str, float]:
        """Draw answers, have them paid, and estimate how much better each token was than expected."""
        size = self.args.per_device_train_batch_size
        prompts = self._next_prompts(size * self._batches)
        answers = self._answers(prompts, seed_of(self.args.seed, ANSWERS, self.rollout_number))
        paid = self._pay(prompts, answers)
        self.seen = scores.seen_more(self.seen, paid.total)
        counted = scores.normalized(
            paid.total, self.settings.normalize, self.seen, self.settings.reward_limit
        )
        unfinished = [answer[-1] not in self.ends for answer in answers]
        counted = [
            score - self.settings.no_end_penalty * is_cut
            for score, is_cut in zip(counted, unfinished, strict=True)
        ]
        steps = self.args.gradient_accumulation_steps
        groups = rollouts.by_length([one.prompt_ids for one in prompts], answers, size, size * steps)
        made, nats = [], []
        with torch.no_grad():
            for group in groups:
                batch, moved = self._judge(
                    [prompts[row].prompt_ids for row in group],
                    [answers[row] for row in group],
                    [counted[row] for row in group],
                )
                made.append(batch)
                nats.append(moved)
        mask = torch.cat([batch.mask.flatten() for batch in made])
        values, returns = (
            torch.cat([getattr(b, name).flatten() for b in made]) for name in ("values", "returns")
        )
        self.rollout = whitened(made) if self.settings.whiten else made
        self.order = [
            minibatch * steps + number
            for once in range(self.settings.passes)
            for minibatch in _permutation(
                self.settings.minibatches, seed_of(self.args.seed, ORDER, self.rollout_number, once)
            )
            for number in range(steps)
        ]
        self.rollout_number += 1
        divergence = float(torch.cat(nats).mean())
        told = {
            "reward": _mean(paid.total),
            "reward_deviation": scores.seen_more(scores.Seen(), paid.total).deviation,
            "answer_kl": divergence,
            "kl_coefficient": self.coefficient,
            "response_tokens": _mean([float(len(answer)) for answer in answers]),
            "unfinished": _mean([float(is_cut) for is_cut in unfinished]),
            "explained_variance": advantages.explained_variance(values, returns, mask),
            **{f"part/{name}": _mean(found) for name, found in paid.parts.items()},
        }
        self.coefficient = kl.adapted(
            self.coefficient, divergence, self.settings.kl_target, self.settings.kl_horizon, len(prompts)
        )
        return told

    def _pay(self, prompts: Sequence[PromptExample], answers: Sequence[Sequence[int]]) -> Any:
        texts = [str(self.tokenizer.decode(list(answer), skip_special_tokens=True)) for answer in answers]
        return self.payer.pay([one.prompt for one in prompts], texts, [one.answer for one in prompts])

    def _judge(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], counted: Sequence[float]
    ) -> tuple[Batch, Tensor]:
        """Put rows into a batch with what policy, value and reference say of them, and their nats from it [rows]."""
        ids, attention, mask = rollouts.pad(prompts, answers, int(self.tokenizer.pad_token_id), self.device)
        with self._mixed():
            said = self.reader.read(ids, attention, mask.shape[1], with_entropy=False)
            values = self.value(said.hidden) * mask
            reference = self.reference.logprobs(ids, attention, mask.shape[1])
        paid = torch.tensor(counted, device=self.device)
        rewards = advantages.token_rewards(paid, said.logprobs, reference, mask, self.coefficient)
        better, returns = advantages.estimate(rewards, values, mask, self.settings.gamma, self.settings.lam)
        nats = ((said.logprobs - reference) * mask).sum(1)
        return Batch(ids, attention, mask, said.logprobs * mask, values, better, returns), nats

    # An optimizer step.

    def _learn(self) -> dict[str, float]:
        """Take one optimizer step on the next batches of the rollout; every token of an answer counts alike."""
        count = self.args.gradient_accumulation_steps
        batches = [self.rollout[number] for number in self.order[:count]]
        self.order = self.order[count:]
        tokens = sum(float(batch.mask.sum()) for batch in batches)
        sums: dict[str, float] = {}
        for batch in batches:
            loss, told = self._losses(batch)
            (loss / tokens).backward()
            for name, value in {**told, "loss": float(loss.detach())}.items():
                sums[name] = sums.get(name, 0.0) + value / tokens
            self.tokens += int(batch.attention.sum())
        rate = float(self.schedules[0].get_last_lr()[0])
        norm = self._climb()
        state = self.state
        state.global_step += 1
        state.epoch = self._epochs(state.global_step)
        return {**sums, "grad_norm": norm, "learning_rate": rate, "num_tokens": float(self.tokens)}

    def _losses(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Sum a batch's loss over its tokens, and what is told of it."""
        settings, mask = self.settings, batch.mask
        with self._mixed():
            said = self.reader.read(
                batch.ids, batch.attention, mask.shape[1], with_entropy=settings.entropy_weight > 0
            )
            values = self.value(said.hidden)
        policy, clipped = losses.policy_loss(
            said.logprobs, batch.logprobs, batch.advantages, mask, settings.clip
        )
        value = losses.value_loss(values, batch.values, batch.returns, mask, settings.value_clip)
        entropy = (said.entropy * mask).sum()
        loss = policy + settings.value_weight * value
        if settings.entropy_weight:
            loss = loss - settings.entropy_weight * entropy
        moved = losses.divergence(said.logprobs.detach(), batch.logprobs, mask).sum()
        told = {
            "policy_loss": float(policy.detach()),
            "value_loss": float(value.detach()),
            "entropy": float(entropy.detach()),
            "clip_fraction": float(clipped),
            "step_kl": float(moved),
        }
        return loss, told

    def _climb(self) -> float:
        """Clip the gradients, of the value apart, and let both optimizers step; gives back the policy's norm."""
        limit = self.args.max_grad_norm or math.inf
        moving = [weight for weight in self.model.parameters() if weight.requires_grad]
        norm = float(clip_grad_norm_(moving, limit))
        clip_grad_norm_(self.value.parameters(), limit)
        call = self.callback_handler
        self.control = call.on_pre_optimizer_step(self.args, self.state, self.control)
        self.optimizer.step()
        self.value_optimizer.step()
        self.control = call.on_optimizer_step(self.args, self.state, self.control)
        for schedule in self.schedules:
            schedule.step()
        self.model.zero_grad(set_to_none=True)
        self.value.zero_grad(set_to_none=True)
        return norm

    # What is told.

    def _measure(self) -> dict[str, float]:
        rows = list(self.eval_dataset)
        answers = self._answers(rows, seed_of(self.args.seed, EVALUATION))
        paid = self._pay(rows, answers)
        nats = []
        size = self.args.per_device_eval_batch_size
        for group in rollouts.by_length([one.prompt_ids for one in rows], answers, size, len(rows)):
            _, moved = self._judge(
                [rows[row].prompt_ids for row in group], [answers[row] for row in group], [0.0] * len(group)
            )
            nats.append(moved)
        reward = _mean(paid.total)
        found = {
            "loss": -reward,
            "reward": reward,
            "reward_deviation": scores.seen_more(scores.Seen(), paid.total).deviation,
            "answer_kl": float(torch.cat(nats).mean()),
            "response_tokens": _mean([float(len(answer)) for answer in answers]),
            **{f"part/{name}": _mean(values) for name, values in paid.parts.items()},
        }
        return {f"eval_{name}": value for name, value in found.items()}

    def _log(self, told: dict[str, float]) -> None:
        logs = {**told, "epoch": round(self.state.epoch, 4)}
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)


def make_optimizer(model: Any, arguments: TrainingArguments) -> Any:
    """Make the optimizer that the arguments name, with weight decay on matrices alone, as transformers does."""
    from torch import nn
    from transformers import Trainer
    from transformers.trainer_pt_utils import get_parameter_names

    plain = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
    decayed = set(get_parameter_names(model, [nn.LayerNorm], plain))
    moving = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {
            "params": [weight for name, weight in moving if name in decayed],
            "weight_decay": arguments.weight_decay,
        },
        {"params": [weight for name, weight in moving if name not in decayed], "weight_decay": 0.0},
    ]
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    return kind([group for group in groups if group["params"]], **settings)


def whitened(batches: Sequence[Batch]) -> list[Batch]:
    """Whiten the advantages over all tokens of a rollout."""
    mask = torch.cat([batch.mask.flatten() for batch in batches])
    flat = advantages.whiten(torch.cat([batch.advantages.flatten() for batch in batches]), mask)
    parts = flat.split([batch.mask.numel() for batch in batches])
    return [
        replace(batch, advantages=part.view_as(batch.mask))
        for batch, part in zip(batches, parts, strict=True)
    ]


def seed_of(*parts: int) -> int:
    """Make one seed of several numbers, such that none of them says anything of another."""
    return int(numpy.random.SeedSequence(parts).generate_state(1)[0])


def _permutation(size: int, seed: int) -> list[int]:
    order: list[int] = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def _set_step(schedule: Any, step: int) -> None:
    """Put a fresh schedule where it was after so many steps."""
    if not step:
        return
    schedule.last_epoch, schedule._step_count = step, step + 1
    rates = [rate * curve(step) for rate, curve in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
