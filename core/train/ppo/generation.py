"""The policy as it generates: its answers, their rewards, and the outputs of policy, value and reference on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetop.core.data.examples import PromptExample
from finetop.core.train.ppo import advantages, rollouts
from finetop.core.train.ppo.options import Options
from finetop.core.train.ppo.policy import AnswerReading, Reader, Reference, Value
from finetop.core.train.ppo.rollouts import Batch
from finetop.core.train.trainers.reward_sum import RewardScores, RewardSum

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


@dataclass
class Writer:
    """A policy with everything that scores its answers."""

    model: Any
    settings: Options
    tokenizer: Tokenizer
    payer: RewardSum
    reader: Reader
    value: Value
    reference: Reference
    ends: Sequence[int]  # tokens that end an answer
    together: int  # answers that are generated at once
    sixteen_bits: torch.dtype | None  # for mixed precision, as in transformers' trainer

    def answers(
        self, prompts: Sequence[PromptExample], seed: int, *, ends: Sequence[int] | None = None
    ) -> list[list[int]]:
        """Sample an answer to each prompt; with empty `ends` each has the maximum length."""
        with self._mixed():
            return rollouts.draw(
                self.model,
                [prompt.prompt_ids for prompt in prompts],
                ends=self.ends if ends is None else ends,
                padding=int(self.tokenizer.pad_token_id),
                longest=self.settings.max_new_tokens,
                temperature=self.settings.temperature,
                together=self.together,
                seed=seed,
            )

    def pay(self, prompts: Sequence[PromptExample], answers: Sequence[Sequence[int]]) -> RewardScores:
        """Return the rewards of answers. Raises BadInput if the reward model gives no number."""
        texts = [str(self.tokenizer.decode(list(answer), skip_special_tokens=True)) for answer in answers]
        asked, right = [prompt.prompt for prompt in prompts], [prompt.answer for prompt in prompts]
        return self.payer.pay(asked, texts, right)

    def judge(
        self,
        prompts: Sequence[PromptExample],
        answers: Sequence[Sequence[int]],
        counted: Sequence[float],
        coefficient: float,
    ) -> tuple[Batch, Tensor]:
        """Return answers as a batch with log-probabilities, values and advantages, and their nats from the reference.

        `counted` [rows] is each answer's normalized reward, `coefficient` the cost of a nat. Without gradients.
        """
        padding = int(self.tokenizer.pad_token_id)
        asked = [prompt.prompt_ids for prompt in prompts]
        ids, attention, mask = rollouts.pad(asked, answers, padding, self.model.device)
        with torch.no_grad(), self._mixed():
            reading = self.reader.read(ids, attention, mask.shape[1], with_entropy=False)
            values = self.value(reading.hidden) * mask
            reference = self.reference.logprobs(ids, attention, mask.shape[1])
        counted_rewards = torch.tensor(counted, device=ids.device)
        rewards = advantages.token_rewards(counted_rewards, reading.logprobs, reference, mask, coefficient)
        gamma, lam = self.settings.gamma, self.settings.gae_lambda
        better, returns = advantages.estimate(rewards, values, mask, gamma, lam)
        nats = ((reading.logprobs - reference) * mask).sum(1)
        return Batch(ids, attention, mask, reading.logprobs * mask, values, better, returns), nats

    def read(self, batch: Batch) -> tuple[AnswerReading, Tensor]:
        """Return the policy's current reading of a batch's answers, and the values, with gradients."""
        with self._mixed():
            moves, answers = self.settings.entropy_weight > 0, batch.mask.shape[1]
            reading = self.reader.read(batch.ids, batch.attention, answers, with_entropy=moves)
            return reading, self.value(reading.hidden)

    def _mixed(self) -> Any:
        kind = self.sixteen_bits
        return nullcontext() if kind is None else torch.autocast(self.model.device.type, kind)
