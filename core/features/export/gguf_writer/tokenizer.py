"""A fast tokenizer in GGUF's terms: texts, kinds, merges or scores, special tokens, template, what ends an answer.

llama.cpp knows the rule that splits a text only by a name (`tokenizer.ggml.pre`). Candidates come from the shape of the
tokenizer's own rule; which one is right is found by trial (token_proof.py), never by the hash of one text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.refusal import unwritable
from finetop.core.models.gguf_tokenizer import WORDS

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase as Tokenizer

BY_REGEX = {WORDS % "{1,3}": ("llama-bpe", "dbrx", "smaug-bpe"), WORDS % "": ("qwen2", "stablelm2")}
OTHERS = (
    "gpt-2", "smollm", "qwen2", "llama-bpe", "dbrx", "gpt-4o", "tekken", "qwen35", "starcoder", "falcon",
    "deepseek-llm", "deepseek-coder", "deepseek-v3", "olmo", "stablelm2", "command-r", "bloom", "default",
    "falcon3", "refact", "mpt", "llama4", "pixtral", "seed-coder", "granite-docling", "exaone", "viking", "superbpe",
)  # fmt: skip
SPACE = "\u2581"  # SentencePiece's
NEVER = -1e6  # the score of a token that no merge makes
# Special tokens that llama.cpp keeps from eating white space in a model that it takes for Phi 3.
NOT_EATING = {"<unk>", "<s>", "<|endoftext|>"}


@dataclass
class Vocabulary:
    """The tokens of a model, in GGUF's terms."""

    model: str  # gpt2: byte-level merges; llama: SentencePiece's, with bytes as a way out
    tokens: list[str]
    kinds: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    adds_space: bool = False


def settings_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the tokenizer.json of what transformers loaded, which is what the model was trained with.

    It isn't the file's: transformers 5 rebuilds rules by the model's type (a Llama's file beside a qwen2 config gets
    Qwen's).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise unwritable("its tokenizer is not a fast one")
    settings: dict[str, Any] = json.loads(backend.to_str())
    return settings


def candidates(settings: dict[str, Any]) -> list[str]:
    """Return llama.cpp's names of rules that are worth trying, likeliest first."""
    rule = settings.get("pre_tokenizer") or {}
    steps = rule.get("pretokenizers", [rule])
    kinds = [step.get("type") for step in steps]
    likely: tuple[str, ...] = ()
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        likely = ("gpt-2", "olmo")
    elif kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        likely = ("smollm", "starcoder", "command-r")
    elif kinds[:1] == ["Split"]:
        likely = BY_REGEX.get(steps[0].get("pattern", {}).get("Regex", ""), ())
    return list(dict.fromkeys([*likely, *OTHERS]))


def is_normalized(settings: dict[str, Any]) -> bool:
    """Return whether the tokenizer brings texts into NFC first, which llama.cpp doesn't."""
    return (settings.get("normalizer") or {}).get("type") == "NFC"


def vocabulary_of(settings: dict[str, Any], size: int) -> Vocabulary:
    """Put a tokenizer in GGUF's terms; rows of the embedding without a token become unused ones. Raises BadInput."""
    from gguf import TokenType

    model, added = settings["model"], settings.get("added_tokens", [])
    if model.get("type") != "BPE":
        raise unwritable(f"its tokenizer is of the kind {model.get('type')}, not BPE")
    ids = {**model["vocab"], **{token["content"]: token["id"] for token in added}}
    if max(ids.values()) >= size:
        raise unwritable(f"the tokenizer has {max(ids.values()) + 1} tokens, and the embedding {size} rows")
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for text, number in model["vocab"].items():
        tokens[number], kinds[number] = text, int(TokenType.NORMAL)
    vocabulary = Vocabulary("", tokens, kinds)
    _add_merges(vocabulary, settings)
    for token in added:
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        tokens[token["id"]], kinds[token["id"]] = token["content"], int(kind)
    unknown = model.get("unk_token")
    if unknown in ids and vocabulary.model == "llama":
        kinds[ids[unknown]] = int(TokenType.UNKNOWN)
    if len(set(tokens)) != size:
        raise unwritable("two of its tokens have the same text")
    return vocabulary


def _add_merges(vocabulary: Vocabulary, settings: dict[str, Any]) -> None:
    from gguf import TokenType

    model = settings["model"]
    pairs = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"]]
    rules = json.dumps([settings.get("normalizer"), settings.get("pre_tokenizer")], ensure_ascii=False)
    if "ByteLevel" in rules:
        if settings.get("normalizer") is not None and not is_normalized(settings):
            raise unwritable(f"its tokenizer changes texts by {settings['normalizer'].get('type')}")
        vocabulary.model = "gpt2"
        vocabulary.merges = [" ".join(pair) for pair in pairs]
    elif model.get("byte_fallback") and SPACE in rules:
        vocabulary.model = "llama"
        vocabulary.adds_space = _adds_space(settings)
        # a merge is made in the order of the list: its rank is the score, of a token's first merge
        rank = {"".join(pair): -float(at + 1) for at, pair in reversed(list(enumerate(pairs)))}
        vocabulary.scores = [rank.get(token, NEVER) for token in vocabulary.tokens]
        for number, token in enumerate(vocabulary.tokens):
            if re.fullmatch(r"<0x[0-9A-F]{2}>", token):
                vocabulary.kinds[number] = int(TokenType.BYTE)
    else:
        raise unwritable("its tokenizer has neither byte-level merges nor bytes to fall back to")


def _adds_space(settings: dict[str, Any]) -> bool:
    """Return whether a text gets a space in front."""
    steps = [settings.get("normalizer") or {}, settings.get("pre_tokenizer") or {}]
    inner = [
        step for outer in steps for key in ("normalizers", "pretokenizers") for step in outer.get(key, [])
    ]
    return any(
        step.get("type") == "Prepend"
        or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in (*steps, *inner)
    )


def safe_name(name: str, settings: dict[str, Any]) -> str:
    """Return general.name, from which llama.cpp reads more than a name.

    With "phi-3" or "phi3" in it, special tokens eat the white space behind them. So a run called my-phi3-test would
    tokenize otherwise, or not load at all. Raises BadInput.
    """
    added = settings.get("added_tokens", [])
    if any(token.get("lstrip") or token.get("single_word") for token in added):
        raise unwritable("a special token takes white space to its left, or must be a whole word")
    name = re.sub(r"(?i)phi-?3", "phi 3", name)
    eating = {token["content"] for token in added if token.get("rstrip")}
    if not eating:
        return name
    if eating == {token["content"] for token in added if token["special"]} - NOT_EATING:
        return f"{name} (phi-3)"
    raise unwritable("some special tokens take white space to their right, and others don't")


def stops_of(folder: Path, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that end an answer: the tokenizer's, then others of generation_config.json."""
    file = folder / "generation_config.json"
    named = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id") if file.is_file() else None
    ids = [tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])]
    return list(dict.fromkeys(number for number in ids if number is not None))


def begins_with_bos(tokenizer: Any) -> bool:
    """Return whether the tokenizer puts its token for the beginning in front of a text."""
    bos = tokenizer.bos_token_id
    return bos is not None and bool(tokenizer("a").input_ids[0] == bos)


def template_of(tokenizer: Tokenizer) -> str | None:
    """Return the chat template that is used without tools; a tokenizer may have several, by name."""
    template = tokenizer.chat_template
    chosen = template.get("default") if isinstance(template, dict) else template
    return chosen or None


def describe(
    writer: GGUFWriter, tokenizer: Tokenizer, vocabulary: Vocabulary, stops: list[int], pre: str
) -> None:
    """Write vocabulary, special tokens and template; what is put in front of a text is asked of the tokenizer."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(pre)
    if vocabulary.model == "gpt2":
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.adds_space)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    ids = tokenizer("a").input_ids
    # always written: without them llama.cpp assumes values that differ by `pre`
    writer.add_add_bos_token(begins_with_bos(tokenizer))
    writer.add_add_eos_token(tokenizer.eos_token_id is not None and ids[-1] == tokenizer.eos_token_id)
    for add, number in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, stops[0] if stops else None),
        (writer.add_eot_token_id, stops[1] if len(stops) > 1 else None),
        (writer.add_eom_token_id, stops[2] if len(stops) > 2 else None),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if number is not None:
            add(number)
    template = tokenizer.chat_template
    if isinstance(template, dict):
        writer.add_chat_template([{"name": key, "template": text} for key, text in template.items()])
    elif template:
        writer.add_chat_template(template)
