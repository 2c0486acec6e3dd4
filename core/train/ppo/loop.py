"""The trainer of PPO: rollouts, passes of optimizer steps over them, evaluation, and saving its state.

It has the members of transformers' Trainer that finetop uses, so that metrics, samples, drift, checkpoints, checks and
stopping work the same. A step is an optimizer step; a rollout is generated before the first of its steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import clip_grad_norm_
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from finetop.core.data.examples import PromptExample
from finetop.core.models.forward import end_tokens
from finetop.core.train.ppo import advantages, chance, losses, rollouts
from finetop.core.train.ppo.generation import Writer
from finetop.core.train.ppo.options import Options
from finetop.core.train.ppo.policy import Reader, Reference, Value, switch_dropout_off
from finetop.core.train.ppo.rollouts import Batch
from finetop.core.train.resume import state_files
from finetop.core.train.resume.resume import put_at
from finetop.core.train.stochastic_adamw import weight_groups
from finetop.core.train.trainer_args import mixed_dtype, recompute_activations
from finetop.core.train.trainers.reward_sum import RewardScores, RewardSum

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer, TrainingArguments


class PolicyTrainer:
    """Trains a policy by PPO. `model` is the policy, a transformers model or a PEFT model around one."""

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        settings: Options,
        tokenizer: Tokenizer,
        train: Sequence[PromptExample],
        evaluation: Sequence[PromptExample],
        payer: RewardSum,
        hooks: Sequence[Any],
        *,
        adapter_keeps_base: bool,
    ) -> None:
        self.model = model
        self.args = arguments
        self.settings = settings
        self.train_dataset = train
        self.eval_dataset = evaluation
        self.device = next(model.parameters()).device
        switch_dropout_off(model)
        reader = Reader(model, settings.temperature)
        width = reader.head.weight.shape[-1]
        self.value = Value(width, separate=settings.value == "separate").to(self.device)
        self.writer = Writer(
            model,
            settings,
            tokenizer,
            payer,
            reader,
            self.value,
            Reference(model, settings.temperature, adapter_keeps_base=adapter_keeps_base),
            end_tokens(model, tokenizer),
            together=arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps,
            sixteen_bits=mixed_dtype(arguments),
        )
        # Both optimizers share the loss scale: the value learns through the policy's loss.
        self.scaler = torch.amp.GradScaler(self.device.type) if arguments.fp16 else None
        self.state = TrainerState()
        self.control = TrainerControl()
        self.callback_handler = CallbackHandler([DefaultFlowCallback(), *hooks], model, tokenizer, None, None)
        self.optimizer: Any = None  # None until made, from the arguments
        self.value_optimizer: Any = None
        self.schedules: list[Any] = []
        self.scheduled = 0  # their steps: fewer than the trainer's if some were skipped
        self.drawn = 0  # prompts drawn so far
        self.rollout_number = 0
        self.rollout: list[Batch] = []
        self.order: list[int] = []  # indexes of the rollout's batches still to be learned from
        self.coefficient = settings.kl_coefficient
        self.seen = advantages.RewardMoments()
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
            metrics = {} if self.order else self._roll_out()
            metrics |= self._learn()
            self.control = call.on_step_end(self.args, state, self.control)
            self._log(metrics)
            if self.control.should_evaluate:
                self.evaluate()
        self.control = call.on_train_end(self.args, state, self.control)

    def evaluate(self) -> dict[str, float]:
        """Answer each evaluation prompt, with the same random numbers each time; eval_loss is -eval_reward."""
        metrics = self._measure()
        self._log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_state(self, folder: Path) -> None:
        """Write everything but the policy's weights that a bit-exact resume needs, to an existing folder."""
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
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "scheduled": self.schedules[0].last_epoch,
        }
        state_files.save(tree, folder)

    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` wrote, before `train`; rates come from the arguments. Raises EnvironmentTrouble."""
        tree = state_files.load(folder)
        self.state.global_step = tree["step"]
        self.scheduled = int(tree.get("scheduled", tree["step"]))
        self.drawn, self.rollout_number = tree["drawn"], tree["rollout_number"]
        self.coefficient, self.seen = tree["coefficient"], advantages.RewardMoments(**tree["seen"])
        self.tokens, self.order = tree["tokens"], list(tree["order"])
        self.rollout = [Batch(**tensors).to(self.device) for tensors in tree["rollout"]]
        self.make_optimizers()
        self.value.load_state_dict(tree["value"])
        for name in ("optimizer", "value_optimizer"):
            optimizer, saved = getattr(self, name), tree[name]
            fresh = optimizer.state_dict()
            optimizer.load_state_dict({"state": saved, "param_groups": fresh["param_groups"]})
        if self.scaler is not None and tree.get("scaler"):
            self.scaler.load_state_dict(tree["scaler"])

    def make_optimizers(self) -> None:
        """Make the optimizers of the policy and of the value, unless they exist."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.model, self.args)
        if self.value_optimizer is None:
            rate = self.settings.value_learning_rate or self.args.learning_rate
            self.value_optimizer = torch.optim.AdamW(self.value.parameters(), rate, weight_decay=0.0)

    def try_longest(self) -> None:
        """Take the costliest possible step and evaluation: the longest prompts, each answer of the maximum length.

        Callbacks are not called; the caller undoes what they change.
        """
        arguments = self.args
        recompute_activations(self.model, arguments)
        self.make_optimizers()
        self.model.train()
        batches = self._longest(self.train_dataset, arguments.per_device_train_batch_size)
        # With gradient accumulation the second batch's gradient needs memory beside the first's.
        for batch in batches[: min(2, arguments.gradient_accumulation_steps)]:
            loss, _ = losses.batch_loss(*self.writer.read(batch), batch, self.settings)
            (loss / float(batch.mask.sum())).backward()
        moving = [weight for weight in self.model.parameters() if weight.requires_grad]
        clip_grad_norm_(moving, arguments.max_grad_norm or math.inf)
        self.optimizer.step()
        self.value_optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.value.zero_grad(set_to_none=True)
        if self.eval_dataset:
            self._longest(self.eval_dataset, arguments.per_device_eval_batch_size)

    def _longest(self, rows: Sequence[PromptExample], size: int) -> list[Batch]:
        """Answer as many of the longest prompts as are answered at once, and score them `size` at a time."""
        order = sorted(rows, key=lambda row: -len(row.prompt_ids))
        prompts = [order[index % len(order)] for index in range(max(size, self.writer.together))]
        answers = self.writer.answers(prompts, chance.seed_of(self.args.seed, chance.ANSWERS), ends=())
        rewards = self.writer.pay(prompts, answers).total
        parts = [slice(at, at + size) for at in range(0, min(2, len(prompts) // size) * size, size)]
        judge, coefficient = self.writer.judge, self.coefficient
        return [judge(prompts[part], answers[part], rewards[part], coefficient)[0] for part in parts]

    # Preparation.

    def _prepare(self) -> None:
        arguments, state = self.args, self.state
        self.make_optimizers()
        state.max_steps = arguments.max_steps
        state.compute_steps(arguments, arguments.max_steps)
        state.num_train_epochs = math.ceil(self._epochs(arguments.max_steps))
        state.train_batch_size = arguments.per_device_train_batch_size
        both = (self.optimizer, self.value_optimizer)
        self.schedules = [make_schedule(optimizer, arguments) for optimizer in both]
        if state.global_step:
            for schedule in self.schedules:
                put_at(schedule, self.scheduled)
        recompute_activations(self.model, arguments)
        self.callback_handler.optimizer = self.optimizer
        self.callback_handler.lr_scheduler = self.schedules[0]

    def _epochs(self, steps: int) -> float:
        rows = steps * self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        return float(rows / self.settings.passes / len(self.train_dataset))

    # A rollout.

    def _roll_out(self) -> dict[str, float]:
        """Generate a rollout's answers, score them, and estimate each token's advantage over the expected value."""
        settings, seed = self.settings, self.args.seed
        size, steps = self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps
        count = size * steps * settings.minibatches
        prompts = chance.next_rows(self.train_dataset, seed, self.drawn, count)
        self.drawn += count
        answers = self.writer.answers(prompts, chance.seed_of(seed, chance.ANSWERS, self.rollout_number))
        rewards = self.writer.pay(prompts, answers)
        self.seen = advantages.seen_more(self.seen, rewards.total)
        counted = advantages.normalized(rewards.total, settings.normalize, self.seen, settings.reward_limit)
        unfinished = [answer[-1] not in self.writer.ends for answer in answers]
        penalty = settings.no_end_penalty
        counted = [score - penalty * is_cut for score, is_cut in zip(counted, unfinished, strict=True)]
        batches, nats = self._judge(prompts, answers, counted, size, size * steps)
        mask = torch.cat([batch.mask.flatten() for batch in batches])
        values = torch.cat([batch.values.flatten() for batch in batches])
        returns = torch.cat([batch.returns.flatten() for batch in batches])
        self.rollout = rollouts.whitened(batches) if settings.whiten else batches
        self.order = chance.order_of(settings.minibatches, steps, settings.passes, seed, self.rollout_number)
        self.rollout_number += 1
        measured = _measured(rewards, answers, nats)
        metrics = {
            **measured,
            "kl_coefficient": self.coefficient,
            "unfinished": fmean(unfinished),
            "explained_variance": advantages.explained_variance(values, returns, mask),
        }
        self.coefficient = advantages.next_coefficient(
            self.coefficient, measured["answer_kl"], settings.kl_target, settings.kl_horizon, len(prompts)
        )
        return metrics

    def _judge(
        self,
        prompts: Sequence[PromptExample],
        answers: Sequence[Sequence[int]],
        counted: Sequence[float],
        size: int,
        among: int,
    ) -> tuple[list[Batch], list[torch.Tensor]]:
        """Score answers in batches of `size`, sorted by length within each `among` of them."""
        batches, nats = [], []
        for group in rollouts.by_length([prompt.prompt_ids for prompt in prompts], answers, size, among):
            batch, moved = self.writer.judge(
                [prompts[row] for row in group],
                [answers[row] for row in group],
                [counted[row] for row in group],
                self.coefficient,
            )
            batches.append(batch)
            nats.append(moved)
        return batches, nats

    # An optimizer step.

    def _learn(self) -> dict[str, float]:
        """Take one optimizer step on the next batches of the rollout; every token of an answer weighs the same."""
        count = self.args.gradient_accumulation_steps
        batches = [self.rollout[number] for number in self.order[:count]]
        self.order = self.order[count:]
        tokens = torch.stack([batch.mask.sum() for batch in batches]).sum()
        sums: dict[str, Any] = {}
        for batch in batches:
            loss, metrics = losses.batch_loss(*self.writer.read(batch), batch, self.settings)
            self._scaled(loss / tokens).backward()
            for name, value in {**metrics, "loss": loss.detach()}.items():
                sums[name] = sums.get(name, 0.0) + value / tokens
        seen = torch.stack([batch.attention.sum() for batch in batches]).sum()
        rate = float(self.schedules[0].get_last_lr()[0])
        norm = self._climb()
        self.tokens += int(seen)
        sums = {name: float(value) for name, value in sums.items()}  # the host waits for the GPU only here
        state = self.state
        state.global_step += 1
        state.epoch = self._epochs(state.global_step)
        return {**sums, "grad_norm": norm, "learning_rate": rate, "num_tokens": float(self.tokens)}

    def _scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Multiply a loss by the loss scale, if there is one."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def _climb(self) -> float:
        """Clip the gradients, the value's separately, and step both optimizers; return the policy's gradient norm.

        In float16 gradients are divided by the loss scale first; an optimizer whose gradients overflowed does not step.
        """
        limit = self.args.max_grad_norm or math.inf
        optimizers = (self.optimizer, self.value_optimizer)
        if self.scaler is not None:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)
        moving = [weight for weight in self.model.parameters() if weight.requires_grad]
        norm = float(clip_grad_norm_(moving, limit))
        clip_grad_norm_(self.value.parameters(), limit)
        call = self.callback_handler
        self.control = call.on_pre_optimizer_step(self.args, self.state, self.control)
        for optimizer in optimizers:
            optimizer.step() if self.scaler is None else self.scaler.step(optimizer)
        self.control = call.on_optimizer_step(self.args, self.state, self.control)
        if not self._falls():
            for schedule in self.schedules:
                schedule.step()
        self.model.zero_grad(set_to_none=True)
        self.value.zero_grad(set_to_none=True)
        return norm

    def _falls(self) -> bool:
        """Update the loss scale; return whether it fell, which means that this step was skipped."""
        if self.scaler is None:
            return False
        before = self.scaler.get_scale()
        self.scaler.update()
        return bool(self.scaler.get_scale() < before)

    # Evaluation and logging.

    def _measure(self) -> dict[str, float]:
        rows = list(self.eval_dataset)
        answers = self.writer.answers(rows, chance.seed_of(self.args.seed, chance.EVALUATION))
        rewards = self.writer.pay(rows, answers)
        size = self.args.per_device_eval_batch_size
        _, nats = self._judge(rows, answers, [0.0] * len(rows), size, len(rows))
        measured = _measured(rewards, answers, nats)
        metrics = {**measured, "loss": -measured["reward"]}
        return {f"eval_{name}": value for name, value in metrics.items()}

    def _log(self, metrics: dict[str, float]) -> None:
        logs = {**metrics, "epoch": round(self.state.epoch, 4)}
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)


def _measured(
    rewards: RewardScores, answers: Sequence[Sequence[int]], nats: Sequence[torch.Tensor]
) -> dict[str, float]:
    """Return the metrics of answers, of a rollout or an evaluation; `nats` are those from the reference."""
    return {
        "reward": fmean(rewards.total),
        "reward_deviation": advantages.seen_more(advantages.RewardMoments(), rewards.total).deviation,
        "answer_kl": float(torch.cat(list(nats)).mean()),
        "response_tokens": fmean(map(len, answers)),
        **{f"part/{name}": fmean(values) for name, values in rewards.parts.items()},
    }


def make_optimizer(model: Any, arguments: TrainingArguments) -> Any:
    """Build the optimizer that the arguments name."""
    from transformers import Trainer

    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    return kind(weight_groups(model, arguments.weight_decay), **settings)


def make_schedule(optimizer: Any, arguments: TrainingArguments) -> Any:
    """Build an optimizer's learning rate schedule as transformers' Trainer does, from the arguments."""
    from transformers import Trainer

    trainer: Any = SimpleNamespace(args=arguments, lr_scheduler=None)
    return Trainer.create_scheduler(trainer, arguments.max_steps, optimizer)
