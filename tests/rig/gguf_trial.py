"""A tiny model with what its GGUF file is compared with, and all that a file's proof finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf_models

from finetop.core.features.export.gguf_writer import convert, reference, token_proof, writer
from finetop.core.features.export.gguf_writer.reference import Reference
from finetop.core.features.export.gguf_writer.writer import Source
from finetop.core.models.llama_cpp.model import Process

TEXT = 1500  # characters: a window, and the beginning of another


@dataclass(frozen=True)
class Trial:
    """One model: its folder, how it is written, and what transformers says."""

    folder: Path
    source: Source
    asked: Reference

    def faults(self, llama: Process, file: Path) -> list[str]:
        """Return all that is wrong with a file that llama.cpp can load."""
        model = llama.open(file, self.asked.context, 1, exact=True)
        return convert.prove(model, self.source, self.folder, file, self.asked).faults

    def written(self, target: Path, source: Source | None = None, folder: Path | None = None) -> Path:
        writer.write(source or self.source, folder or self.folder, target)
        return target


def source_of(folder: Path) -> Source:
    from transformers import AutoConfig, AutoTokenizer

    config: Any = AutoConfig.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return writer.source_of(folder, config, tokenizer, "tiny-phi3-7")


def prepare(name: str, place: Path, pre: str = "", prompts: int = 1) -> Trial:
    """Build a model, and ask transformers; `pre` is the rule of its tokenizer, else found by trial."""
    folder = gguf_models.build(name, place / "model")
    source = source_of(folder)
    writer.require_writable(source.config)
    source = source.with_rule(pre or token_proof.find_rule(source, place / "vocabulary.gguf"))
    text = gguf_models.help_text()[:TEXT]
    asked = reference.make(reference.load(folder, "cpu"), source, text, place / "reference", prompts)
    return Trial(folder, source, asked)
