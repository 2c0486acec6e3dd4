"""What a reader of a verdict must know of where the tuned model comes from: another base, template or vocabulary.

Both models are asked with the same prompts: the base's tokenizer and its chat template, or the recipe's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from finetop.core.check.model_pair import ModelPair

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")


def notes(pair: ModelPair, tokenizer: PreTrainedTokenizerBase, has_own_template: bool) -> tuple[str, ...]:
    """Say in words what differs between the checkpoint and how it is asked; nothing for a model in memory."""
    folder = pair.checkpoint
    found = ["both models are asked with the chat template of the recipe"] if has_own_template else []
    if folder is None:
        return tuple(found)
    trained_on = _manifest(folder).get("base", {}).get("weights_hash")
    if trained_on not in (None, pair.base.weights_hash):
        found.append(
            f"the base model has changed since the checkpoint was trained (sha256 {str(trained_on)[:12]} then,"
            f" {pair.base.weights_hash[:12]} now)"
        )
    if any((folder / name).is_file() for name in TOKENIZER_FILES):
        found += _tokenizer_notes(folder, tokenizer)
    return tuple(found)


def _tokenizer_notes(folder: Path, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    from transformers import AutoTokenizer

    try:
        own: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError):
        return ["the checkpoint's own tokenizer can't be read; both models are asked with the base's"]
    found = []
    if own.chat_template is not None and own.chat_template != tokenizer.chat_template:
        found.append("the checkpoint comes with another chat template; both models are asked with the base's")
    if own.get_vocab() != tokenizer.get_vocab():
        found.append(
            "the checkpoint comes with another vocabulary; both models are asked in the base's tokens"
        )
    return found


def _manifest(folder: Path) -> dict[str, Any]:
    """Read what a checkpoint of ours says of itself; nothing where it is somebody else's."""
    try:
        read = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
