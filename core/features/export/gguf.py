"""Exports a run as GGUF files: merged as every export, written, proven by llama.cpp, quantized and measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.data.weight_files import weight_files
from finetop.core.errors import FinetopError
from finetop.core.features.export import export as whole, gguf_verdicts
from finetop.core.features.export.export import ExportRequest
from finetop.core.features.export.gguf_log import line_of
from finetop.core.features.export.gguf_verdicts import Judge, Judged
from finetop.core.features.export.gguf_writer import token_proof, writer
from finetop.core.features.export.gguf_writer.convert import (
    Converted,
    lines_of,
    prove_and_quantize,
    write_whole,
)
from finetop.core.features.export.wording import DETAIL
from finetop.core.models import load, resolve, save
from finetop.core.models.llama_cpp import model as llama_cpp
from finetop.core.models.llama_cpp.quants import MOST_BYTES, QUANTS
from finetop.core.models.resolved import ResolvedModel
from finetop.core.protocol.events import ExportJudged, Phase
from finetop.core.runtime import parts
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

TASKS_LOGGED = 10  # of a file, worst first; the store has all


def export_gguf(
    request: ExportRequest, text: str | None, home: Home, events: EventLog, judge: Judge | None = None
) -> Converted:
    """Write a checkpoint as GGUF files, and verify them; `judge` asks each the items of the run's check.

    Returns what was written. What can't be written is refused before anything is loaded. Raises FinetopError if the
    float32 file does not say what the model says, or a file is REGRESSED (these stay, under another name), and as
    `export.export`.
    """
    save.require_absent(request.to)
    parts.require("gguf")
    llama_cpp.require()
    events.write(Phase("finding the model"))
    base = resolve.resolve_model(request.recipe.model, home, events)
    load.require_text(request.checkpoint, request.name)
    config = load.read_config(base)
    writer.require_writable(config)
    written = whole.format_of(request, base)
    quantized = sum(QUANTS[quant].bytes for quant in request.quants) * MOST_BYTES
    save.require_room(request.to, base.path, written, beside=4.0 + quantized)
    with save.beside(request.to) as aside, merged_beside(request.to) as folder:
        events.write(Phase("finding llama.cpp's tokenizer"))
        name = name_of(request)
        pre = rule_of(request, base, config, aside / "vocabulary")
        whole.export(replace(request, to=folder, quiet=True), text, home, events)
        config = load.read_config(replace(base, path=folder, trust_remote_code=False))
        tokenizer = load.load_tokenizer(replace(base, path=folder, chat_template=None))
        source = writer.source_of(folder, config, tokenizer, name, pre)
        assert text  # whole.export refuses to go on without
        asked = write_whole(source, folder, aside, text, request.device, events)
        ask = gguf_verdicts.prepared(request, home, events, judge)  # its part of the GPU's work
        converted = prove_and_quantize(source, folder, aside, request.quants, asked, events)
        trained_bytes = sum(file.stat().st_size for file in weight_files(folder))
        shutil.rmtree(folder)
        facts = {**whole.facts_of(request, base), "dtype": written}
        save.note(aside, {**facts, **converted.plain})
        require_proven(request, converted, aside)
        verdicts = gguf_verdicts.verdicts_of(converted, aside, ask)
        judged = gguf_verdicts.judged(request, converted, aside, trained_bytes, verdicts)
        of_files = with_verdicts(converted.plain, judged)
        save.note(aside, {**facts, **of_files})
        save.put(aside, request.to)
    for file in judged.files:
        events.write(ExportJudged(file))
    print(f"exported {request.name} as GGUF: {request.to}")
    for line in [*whole.verdict_of(request), *lines_of(converted, judged.points), *judged.lines]:
        print(f"{DETAIL}{line}")
    print(line_of(of_files), flush=True)
    gguf_verdicts.require_kept(request, judged)
    return converted


def with_verdicts(facts: dict[str, Any], judged: Judged) -> dict[str, Any]:
    """Return the facts about files, each with its present name, its standing and its verdict."""
    files = []
    for file, exported in zip(facts["files"], judged.files, strict=True):
        plain = msgspec.to_builtins(exported)
        if plain["verdict"]:  # the log's end must hold the line of all files
            plain["verdict"]["tasks"] = plain["verdict"]["tasks"][:TASKS_LOGGED]
        shown = {key: plain[key] for key in ("trained_bytes", "standing", "verdict", "unasked")}
        files.append({**file, "file": exported.name, **shown})
    return {**facts, "files": files}


@contextmanager
def merged_beside(target: Path) -> Iterator[Path]:
    """Yield where the merged model goes on the way; removed after the block."""
    folder = save.merged_of(target)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def name_of(request: ExportRequest) -> str:
    """Return what files are called: RUN-STEP, or RUN-STEP-REMEDY."""
    remedy = "" if request.remedy is None else f"-{request.remedy.candidate.name}"
    return f"{request.run_name}-{request.step}{remedy}"


def rule_of(request: ExportRequest, base: ResolvedModel, config: Any, scratch: Path) -> str:
    """Return llama.cpp's rule that tokenizes as the checkpoint does. Raises BadInput."""
    tokenizer = load.tokenizer_of(base, request.checkpoint)
    folder = base.path if load.is_adapter(request.checkpoint) else request.checkpoint
    return token_proof.find_rule(writer.source_of(folder, config, tokenizer, name_of(request)), scratch)


def require_proven(request: ExportRequest, converted: Converted, aside: Path) -> None:
    """Raise FinetopError if the float32 file is wrong; it is kept for inspection."""
    if not converted.faults:
        return
    kept = request.to.with_name(f"{request.to.name}.unproven")
    save.put(aside, kept)
    raise FinetopError(
        f"the GGUF file does not say what {request.name} says: {'; '.join(converted.faults)}.",
        hint=f"It is in {kept}, for inspection; don't use it.",
    )
