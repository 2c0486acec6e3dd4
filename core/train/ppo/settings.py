"""What PPO is told: core/train/objectives/ppo.py says what each setting is, in a recipe's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetop.core.train.ppo.scores import Normalize


@dataclass(frozen=True)
class Settings:
    """How PPO goes about it."""

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
