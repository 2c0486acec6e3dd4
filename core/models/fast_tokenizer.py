"""A model's tokenizer and chat template without the training stack.

It takes 0.1 s and 60 MB, where transformers takes 2.3 s and 360 MB. What training's own code asks of a tokenizer
(core/data/render.py) is here, so that it renders and labels rows with this one as with the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from finetop.core.data import render, template_limits
from finetop.core.models.load import PLAIN_TEMPLATE, tokenizer_file
from finetop.core.runtime.files import read_given
from finetop.core.runtime.limits import limited

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def rendered_by(
    self: LightTokenizer | Characters,
    conversation: Sequence[Mapping[str, Any]],
    *,
    tokenize: bool = False,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Render turns as text. Raises jinja2's TemplateError."""
    assert not tokenize
    facts = {"documents": None, "add_generation_prompt": add_generation_prompt, **self.special}
    return str(self.compiled.render(messages=conversation, tools=tools, **facts))


class LightTokenizer:
    """A folder's fast tokenizer, or a newly trained `inner`; `template` replaces its own chat template."""

    is_fast = True

    def __init__(self, folder: Path, template: str | None = None, inner: Any = None) -> None:
        self.folder = folder
        self.inner: Any = tokenizer_file(folder) if inner is None else inner
        self.inner.no_truncation()
        self.inner.no_padding()
        config = _json(folder / "tokenizer_config.json")
        special = {**_json(folder / "special_tokens_map.json"), **config}
        self.special = {key: _text(special[key]) for key in SPECIAL if special.get(key) is not None}
        ends = self.special.get("eos_token") or self.special.get("unk_token") or ""
        self.special.setdefault("pad_token", ends)
        self.chat_template = template or _template_of(folder, config) or self._plain_template()
        self.compiled = compiled(self.chat_template)

    @property
    def bos_token_id(self) -> int | None:
        return self._id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._id("eos_token")

    def _id(self, key: str) -> int | None:
        token_id: int | None = self.inner.token_to_id(self.special[key]) if key in self.special else None
        return token_id

    def _plain_template(self) -> str:
        begins = self.inner.encode("a").ids[:1] == [self.bos_token_id]
        return ("{{ bos_token }}" if begins else "") + PLAIN_TEMPLATE

    apply_chat_template = rendered_by

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(self(text, add_special_tokens=add_special_tokens)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self.inner.decode(list(tokens), skip_special_tokens=False))

    def trained(self, texts: Iterable[str], vocabulary: int) -> LightTokenizer:
        """Train a tokenizer of this kind on texts, as transformers does. Raises ValueError if it is not BPE."""
        return LightTokenizer(self.folder, self.chat_template, _trained(self.inner, texts, vocabulary))

    def __call__(
        self,
        text: str | list[str],
        *,
        add_special_tokens: bool = True,
        return_offsets_mapping: bool = False,
        verbose: bool = True,
    ) -> dict[str, Any]:
        if isinstance(text, str):
            return {"input_ids": self.inner.encode(text, add_special_tokens=add_special_tokens).ids}
        encoded = self.inner.encode_batch(text, add_special_tokens=add_special_tokens)
        given: dict[str, Any] = {"input_ids": [encoding.ids for encoding in encoded]}
        if return_offsets_mapping:
            given["offset_mapping"] = [encoding.offsets for encoding in encoded]
        return given


def _trained(inner: Any, texts: Iterable[str], vocabulary: int) -> Any:
    from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers

    settings = json.loads(inner.to_str())
    model, splits, added = settings["model"], settings["pre_tokenizer"], settings.pop("added_tokens")
    behind = settings.pop("post_processor")
    if model["type"] != "BPE":
        raise ValueError(f"a tokenizer of type {model['type']}")
    model["vocab"], model["merges"] = {}, []
    marked = [entry for entry in added if entry.pop("special")]
    special = [AddedToken(**{key: entry[key] for key in entry if key != "id"}) for entry in marked]
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    named = {key: model[key] for key in affixes if model[key] is not None}
    steps = () if splits is None else splits.get("pretokenizers", (splits,))
    if any(step["type"] == "ByteLevel" for step in steps):
        named["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer.from_str(json.dumps(settings))
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False, **named)
    tokenizer.train_from_iterator(texts, trainer=trainer)
    if behind is not None:
        for entry in behind.get("special_tokens", {}).values():
            entry["ids"] = [tokenizer.token_to_id(token) for token in entry["tokens"]]
        whole = {**json.loads(tokenizer.to_str()), "post_processor": behind}
        tokenizer = Tokenizer.from_str(json.dumps(whole))
    return tokenizer


class Characters:
    """A stand-in for a missing tokenizer: four characters a token; `template`, the folder's or the plain one."""

    is_fast = True
    bos_token_id: int | None = None
    eos_token_id: int | None = 0
    EACH = 4  # characters per token, of English text in vocabularies of 30,000 to 150,000 words

    def __init__(self, folder: Path | None = None, template: str | None = None) -> None:
        self.special: dict[str, str] = {}
        own = None if folder is None else _template_of(folder, _json(folder / "tokenizer_config.json"))
        self.chat_template = template or own or PLAIN_TEMPLATE
        self.compiled = compiled(self.chat_template)

    apply_chat_template = rendered_by

    def encode(self, text: str, **_: Any) -> list[int]:
        return list(self(text)["input_ids"])

    def __call__(self, text: str | list[str], **_: Any) -> dict[str, Any]:
        if isinstance(text, str):
            return {"input_ids": [1] * -(-len(text) // self.EACH)}
        each = self.EACH
        spans = [[(at, min(at + each, len(part))) for at in range(0, len(part), each)] for part in text]
        return {"input_ids": [[1] * len(part) for part in spans], "offset_mapping": spans}


def compiled(template: str) -> Any:
    """Compile a chat template in the sandbox that transformers uses, with the same functions.

    Constant expressions are evaluated here, within the limits of a row. Raises jinja2's TemplateError.
    """
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks answers for other trainers: its content is written unchanged."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

        def _written(self, caller: Any) -> Any:
            return caller()

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    more = [Generation, loopcontrols]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=more)
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        with limited(render.SECONDS, render.BYTES), template_limits.held_to(render.LONGEST):
            return environment.from_string(template)
    except (TimeoutError, MemoryError) as error:
        raise TemplateError("it takes too long, or too much memory, to read") from error


def _template_of(folder: Path, config: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return read_given(file).decode()
    written = config.get("chat_template") or _json(folder / "chat_template.json").get("chat_template")
    if isinstance(written, list):  # several by name
        named = {entry.get("name"): entry.get("template") for entry in written if isinstance(entry, dict)}
        written = named.get("default")
    return written if isinstance(written, str) else None


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_given(file))
    except (OSError, ValueError):
        return {}  # not every model has one
    return value if isinstance(value, dict) else {}


def _text(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)
