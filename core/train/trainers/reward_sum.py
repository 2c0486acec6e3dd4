"""The reward of an answer: the weighted sum of the reward model's score and the recipe's rules."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data import hub, weight_files
from finetop.core.errors import BadInput
from finetop.core.models import checkpoint, load, resolve, resolved
from finetop.core.models.resolved import ResolvedModel
from finetop.core.models.reward_model import KEY, RewardModel, make, require_one_label, require_vocabulary
from finetop.core.recipe.references import is_reference
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home
from finetop.core.train import rewards
from finetop.core.train.rewards import Reward, RewardRule

if TYPE_CHECKING:
    from finetop.core.data.formats import Message
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.train.trainer_setup import Setup

MODEL = "model"  # name of the reward model's part


@dataclass(frozen=True)
class RewardScores:
    """The rewards of answers: in total, and by each part before its weight."""

    total: list[float]
    parts: dict[str, list[float]]


@dataclass(frozen=True)
class RewardSum:
    """Scores answers: a reward model with its weight, and rules with their values and weights."""

    model: RewardModel | None
    weight: float
    rules: tuple[tuple[RewardRule, Any, float], ...]

    def pay(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[str], right: Sequence[str | None]
    ) -> RewardScores:
        """Return answers' rewards; `right` are the rows' own. Raises BadInput if the model's scores are not finite."""
        total, parts = [0.0] * len(answers), {}
        if self.model is not None:
            parts[MODEL] = self.model.score(prompts, answers)
            if not all(map(math.isfinite, parts[MODEL])):
                hint = "Train it again at a lower train.learning_rate."
                raise BadInput("objective.reward.model: its scores are NaN or infinite.", hint=hint)
            total = [self.weight * score for score in parts[MODEL]]
        for rule, value, weight in self.rules:
            pairs = zip(answers, right, strict=True)
            scores = [rule.score(answer.strip(), value, own) for answer, own in pairs]
            parts[rule.name] = scores
            total = [sum_ + weight * score for sum_, score in zip(total, scores, strict=True)]
        return RewardScores(total, parts)


def begin(setup: Setup) -> RewardSum:
    """Load the reward model and the rules of `objective.reward`. Raises BadInput."""
    reward: Reward = setup.recipe.objective.options.reward
    model = None
    if reward.model is not None:
        size = setup.recipe.train.eval_batch_size or setup.recipe.train.batch_size
        home, events = setup.home, setup.events
        model = load_reward(reward.model, setup.dtype, setup.device, size, home, events, reward.quantize)
        if model.tokenizer.get_vocab() != setup.tokenizer.get_vocab():
            print("the reward model tokenizes answers itself: its vocabulary differs")
    rules = tuple((rewards.load(rule.rule), rule.value, rule.weight) for rule in reward.rules)
    return RewardSum(model, reward.weight, rules)


def folder_of(reference: str, home: Home) -> Path:
    """Return the checkpoint that `objective.reward.model` names: a folder, or a run's. Raises BadInput."""
    if is_reference(reference):
        return checkpoint.checkpoint_of(reference, home, KEY)
    folder = given_path(reference)
    if not hub.is_local(reference):
        hint = "Give run:NAME, or its folder, which starts with ./ or /: RUN_FOLDER/checkpoints/step-000120."
        raise BadInput(f"{KEY}: {reference[:100]} is neither a run nor a folder.", hint=hint)
    if not folder.is_dir():
        raise BadInput(f"{KEY}: no folder {reference}.", hint="Give a checkpoint of a reward run.")
    return folder


def require_reward_model(folder: Path) -> bool:
    """Check that a folder holds a reward model; return whether it is an adapter. Raises BadInput."""
    is_adapter = load.is_adapter(folder)
    if not load.is_reward_model(folder):
        hint = "Train one with objective.name: reward, and give its checkpoint."
        raise BadInput(f"{KEY}: {folder} holds no reward model.", hint=hint)
    if not is_adapter:
        require_one_label(folder, str(folder), KEY)
    return is_adapter


def load_reward(
    reference: str,
    dtype: str,
    device: str,
    batch_size: int,
    home: Home,
    events: EventLog,
    quantize: str = "none",
) -> RewardModel:
    """Load a frozen reward model from a checkpoint: a whole one, or an adapter with the base that it was trained on.

    Raises BadInput if it is not one, or its base has changed; EnvironmentTrouble if the base can't be reached.
    """
    folder = folder_of(reference, home)
    is_adapter = require_reward_model(folder)
    resolved_base = base_of(folder, home, events) if is_adapter else whole(folder, home)
    base = replace(resolved_base, quantize=quantize)
    tokenizer = load.load_tokenizer(replace(base, path=folder))
    model: Any = make(base, tokenizer, load.torch_dtype(dtype, device), device)
    if is_adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder, torch_device=device)
        load.answer_in_kind(model)
        heads = (module for name, module in model.named_modules() if name.endswith("score.modules_to_save"))
        head = next(heads, None)
        if head is None:
            hint = "Train it again with objective.name: reward."
            raise BadInput(f"{KEY}: {folder} has no weights for the score.", hint=hint)
    require_vocabulary(model, tokenizer, str(folder), KEY)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return RewardModel(model.requires_grad_(False).eval(), tokenizer, batch_size)


def whole(folder: Path, home: Home) -> ResolvedModel:
    """Resolve a reward model that is saved whole. Raises BadInput if its weights are missing."""
    load.check_folder(folder, str(folder))
    weights = weight_files.weights_hash(folder, home)
    return resolved.ResolvedModel(str(folder), folder, None, None, "local folder", weights)


def base_of(folder: Path, home: Home, events: EventLog) -> ResolvedModel:
    """Resolve the base that an adapter was trained on. Raises BadInput if its weights have changed since."""
    from finetop.core.recipe.schema import Model

    config = load.adapter_config(folder)
    name, revision = str(config["base_model_name_or_path"]), config.get("revision")
    revision = None if hub.is_local(name) else revision
    base = resolve.resolve_model(Model(id=name, revision=revision), home, events)
    manifest = folder / "manifest.json"
    known = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else None
    if known is not None and known["base"]["weights_hash"] not in (None, base.weights_hash):
        hint = "Restore the weights it was trained on, or train the reward model again."
        raise BadInput(f"{KEY}: its base {name} has other weights than when it was trained.", hint=hint)
    return base
