"""Whether llama.cpp tokenizes as the model's own tokenizer does, and finds the right rule by trying.

It needs no weights: a file with the vocabulary alone is enough, so all this is known before anything is merged.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.features.export.gguf_writer import material, tokenizer as tokens, writer
from finetop.core.features.export.gguf_writer.refusal import unwritable
from finetop.core.features.export.gguf_writer.writer import Source
from finetop.core.models.llama_cpp.model import Model, started
from finetop.core.text import quoted


@dataclass
class TokenProof:
    """What was compared, and what differs: `faults` is empty for a file that is right."""

    strings: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_rule(source: Source, scratch: Path) -> str:
    """Return the first of llama.cpp's rules with which it tokenizes all strings as the tokenizer does.

    `scratch` is a file that is written and removed. Raises BadInput if there is none.
    """
    settings = tokens.settings_of(source.tokenizer)
    is_bytes = tokens.vocabulary_of(settings, source.rows).model == "gpt2"
    nearest: list[tuple[int, str, str]] = []
    texts, _ = comparable(source)
    with started() as process:
        for pre in tokens.candidates(settings) if is_bytes else ["default"]:
            writer.write_vocabulary(source.with_rule(pre), scratch)
            try:
                wrong = differing(process.open(scratch, context=0), source, texts)
            except BadInput:
                continue  # a name that this llama.cpp does not know
            finally:
                scratch.unlink(missing_ok=True)
            if not wrong:
                return pre
            nearest.append((len(wrong), pre, wrong[0]))
    if not nearest:
        raise unwritable("llama.cpp can't load its vocabulary")
    count, pre, text = min(nearest)
    raise unwritable(
        f"no rule of llama.cpp splits texts as its tokenizer does ({pre} comes nearest, and differs on {count} of"
        f" {len(texts)} texts, such as {quoted(text[:40])})"
    )


def prove(model: Model, source: Source) -> TokenProof:
    """Compare tokens of strings and of the whole vocabulary, template, chats, and what ends an answer."""
    proof = TokenProof()
    texts, left_out = comparable(source)
    proof.strings = len(texts)
    if left_out:
        proof.notes.append(
            "llama.cpp does not normalize: text with decomposed accents (not NFC) gets other tokens there"
        )
    if wrong := differing(model, source, texts):
        example = quoted(wrong[0][:40])
        proof.faults.append(f"{len(wrong)} of {len(texts)} texts get other tokens, such as {example}")
    _prove_vocabulary(model, source, proof)
    _prove_ends(model, source, proof)
    _prove_template(model, source, proof)
    return proof


def comparable(source: Source) -> tuple[list[str], int]:
    """Return the strings, less those that the tokenizer normalizes first, and how many those are."""
    texts = material.strings(list(source.tokenizer.all_special_tokens))
    if not tokens.is_normalized(tokens.settings_of(source.tokenizer)):
        return texts, 0
    same = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    return same, len(texts) - len(same)


def differing(model: Model, source: Source, texts: list[str]) -> list[str]:
    """Return the texts that llama.cpp tokenizes otherwise."""
    wanted = source.tokenizer(texts, verbose=False).input_ids
    found = model.tokenize(texts)
    return [text for text, own, other in zip(texts, wanted, found, strict=True) if own != other]


def _prove_vocabulary(model: Model, source: Source, proof: TokenProof) -> None:
    """Compare every token's text, and how that is tokenized, which tries all merges."""
    tokenizer: Any = source.tokenizer
    if model.facts.tokens != source.rows:
        proof.faults.append(f"the file has {model.facts.tokens} tokens, and the model {source.rows} rows")
        return
    count = min(len(tokenizer), source.rows)
    wanted = tokenizer.convert_ids_to_tokens(list(range(count)))
    stored = model.vocabulary()[:count]
    other = sum(own is not None and own != text for own, text in zip(wanted, stored, strict=True))
    if other:
        proof.faults.append(f"{other} of {count} tokens have another text")
    texts = tokenizer.batch_decode([[number] for number in range(count)])
    texts = [text for text in texts if text and "\ufffd" not in text]
    if tokens.is_normalized(tokens.settings_of(tokenizer)):
        texts = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    if wrong := differing(model, source, texts):
        proof.faults.append(f"the texts of {len(wrong)} of {len(texts)} tokens are tokenized otherwise")


def _prove_ends(model: Model, source: Source, proof: TokenProof) -> None:
    facts, tokenizer = model.facts, source.tokenizer
    name = tokenizer.convert_ids_to_tokens
    if source.stops and facts.eos != source.stops[0]:
        written = name(facts.eos) if facts.eos >= 0 else "none"
        proof.faults.append(f"the end of an answer is {written}, not {name(source.stops[0])}")
    if unknown := [number for number in source.stops if number not in facts.stops]:
        proof.faults.append(f"{', '.join(name(unknown))} does not end an answer")
    if more := [name(number) for number in facts.stops if number not in source.stops]:
        proof.notes.append(f"llama.cpp ends an answer at {', '.join(more)} too")
    if tokens.begins_with_bos(tokenizer) and facts.bos != tokenizer.bos_token_id:
        proof.faults.append(f"texts begin with token {facts.bos}, not {tokenizer.bos_token_id}")


def _prove_template(model: Model, source: Source, proof: TokenProof) -> None:
    """Compare the template, and the tokens of conversations that it renders."""
    wanted, stored = tokens.template_of(source.tokenizer), model.facts.template
    if wanted != stored:
        proof.faults.append("the chat template is missing" if stored is None else "the chat template differs")
    if wanted is None or stored is None:
        return
    differ, rendered = 0, 0
    for chat in material.chats():
        try:
            ids = source.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            text = source.tokenizer.apply_chat_template(
                chat, chat_template=stored, add_generation_prompt=True, tokenize=False
            )
        except Exception:  # a template raises what it likes, such as for a system message
            continue
        rendered += 1
        differ += model.tokenize([text], add_special=False)[0] != ids
    if differ:
        proof.faults.append(f"{differ} of {rendered} conversations get other tokens")
