"""Reward models: made from a base for a `reward` run, loaded from its checkpoint, and used to score answers.

A reward model is a causal model with one number in place of its output layer, read at a text's last token; it
scores a whole conversation, rendered with its own tokenizer and chat template (arXiv:2203.02155, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, first_line
from finetop.core.models import config_file, load, quantize as fewer_bits
from finetop.core.models.resolved import ResolvedModel
from finetop.core.runtime.failures import is_of_machine

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.formats import Message

KEY = "objective.reward.model"


@dataclass(frozen=True)
class RewardModel:
    """A loaded reward model, with its own tokenizer, and the number of texts that it reads at once."""

    model: Any
    tokenizer: Tokenizer
    batch_size: int

    def score(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float]:
        """Return the score of each answer to its prompt, in the given order; unbounded, higher is better."""
        import torch

        texts = [self._tokens(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        scores = [0.0] * len(texts)
        for at in range(0, len(order), self.batch_size):
            indexes = order[at : at + self.batch_size]
            some, pad = [texts[index] for index in indexes], int(self.tokenizer.pad_token_id)
            batch = _padded(some, pad, self.model.device)
            with torch.no_grad():
                batch_scores = self.model(**batch, use_cache=False).logits[:, 0].float().tolist()
            for index, value in zip(indexes, batch_scores, strict=True):
                scores[index] = value
        return scores

    def _tokens(self, prompt: Sequence[Message], answer: str) -> list[int]:
        from finetop.core.data.render import answer_ids

        before, (after,) = answer_ids(prompt, (answer,), self.tokenizer, "reward model")
        return [*before, *after]


def _padded(texts: Sequence[list[int]], pad: int, device: Any) -> dict[str, torch.Tensor]:
    """Return texts as one batch, padded on the right: input_ids and attention_mask [texts, longest]."""
    import torch

    width = max(len(text) for text in texts)
    ids = torch.tensor([text + [pad] * (width - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def make(base: ResolvedModel, tokenizer: Tokenizer, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """Load a base with one number as output, random unless it is a reward model. Raises BadInput."""
    from transformers import AutoModelForSequenceClassification

    require_one_label(base.path, base.id, "model.id")
    placed = fewer_bits.quantized(base, dtype, device)
    try:
        model, loading_info = AutoModelForSequenceClassification.from_pretrained(
            base.path,
            num_labels=1,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=base.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **placed,
        )
    except Exception as error:
        if is_of_machine(error):
            raise
        message = f"model.id: can't make a reward model from {base.id}: {first_line(error)}"
        hint = "Pick a model of a usual kind, such as Llama, Qwen or Mistral."
        raise BadInput(message, hint=hint) from error
    missing = loading_info["missing_keys"]
    body = sorted(key for key in missing if key.split(".")[0] not in ("score", "classifier"))
    model = load.put_on(model, device, body, base, is_placed=bool(placed))
    require_vocabulary(model, tokenizer, base.id, "model.id")
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def require_one_label(folder: Path, name: str, key: str) -> None:
    """Refuse a classifier with several outputs. Raises BadInput."""
    if not load.is_reward_model(folder):
        return
    config = config_file.read(folder / "config.json")
    labels = len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))
    if labels != 1:
        message = f"{key}: {name} is a classifier with {labels} labels, but a reward is one number."
        raise BadInput(message, hint="Give a model that generates text, or a reward model with num_labels 1.")


def require_vocabulary(model: Any, tokenizer: Tokenizer, name: str, key: str) -> None:
    """Check that the model knows every token of its tokenizer. Raises BadInput."""
    known, largest = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values())
    if largest >= known:
        hint = "Model and tokenizer do not belong together: give the folder of a saved model."
        raise BadInput(f"{key}: {name} has {known} tokens, but its tokenizer has token {largest}.", hint=hint)
