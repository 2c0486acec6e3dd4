"""A saved model as GGUF files: written in float32 and proven, then quantized from that, and each file measured."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.export.gguf_writer import modelfile, proof, reference, token_proof, writer
from finetop.core.features.export.gguf_writer.proof import Measured
from finetop.core.features.export.gguf_writer.reference import Reference
from finetop.core.features.export.gguf_writer.token_proof import TokenProof
from finetop.core.features.export.gguf_writer.writer import Source
from finetop.core.models.devices import free_memory, place_for
from finetop.core.models.llama_cpp.model import Model, Process, started
from finetop.core.models.safetensors_header import tensors
from finetop.core.protocol.events import Phase
from finetop.core.runtime.event_log import EventLog
from finetop.core.wording.units import size_word

SPEED_TOKENS = 32


@dataclass(frozen=True)
class File:
    """One written file, and how far it is from the model."""

    name: str
    quant: str
    bytes: int
    formats: dict[str, int]  # number formats of its tensors, and of how many
    measured: Measured
    tokens_per_s: float | None  # one answer here, on the CPU

    @property
    def plain(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return {
            "file": self.name,
            "quant": self.quant,
            "bytes": self.bytes,
            "formats": self.formats,
            **asdict(self.measured),
            "tokens_per_s": self.tokens_per_s,
        }

    @property
    def mix(self) -> str:
        """Return which formats its matrices really have, where that isn't what the name says."""
        counts = {name: count for name, count in self.formats.items() if name != "f32"}
        if not counts or self.quant in ("f32", "f16", "bf16"):
            return ""
        most = max(counts, key=counts.__getitem__)
        own = "_".join(self.quant.split("_")[:2])
        return "" if most == own else f"mostly {most}"


@dataclass
class Converted:
    """The files in a folder, and what the float32 file's proof found; with faults there is that file alone."""

    files: list[File] = field(default_factory=list)
    tokens: TokenProof = field(default_factory=TokenProof)
    proven: Measured | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bound: float = 0.0

    def modelfile_of(self, file: File) -> str:
        """Return the name of a file's Modelfile."""
        return "Modelfile" if len(self.files) == 1 else f"Modelfile.{file.quant}"

    @property
    def plain(self) -> dict[str, Any]:
        """Return all as plain data."""
        return {
            "proof": {
                "strings": self.tokens.strings,
                "bound": self.bound,
                **({} if self.proven is None else asdict(self.proven)),
                "faults": self.faults,
                "notes": self.notes,
            },
            "files": [file.plain for file in self.files],
        }


def convert(
    source: Source, folder: Path, aside: Path, quants: Sequence[str], text: str, device: str, events: EventLog
) -> Converted:
    """Write a model's folder into `aside` as GGUF files of these formats, with a Modelfile for each.

    The caller decides what to do about faults. Raises BadInput for what can't be written.
    """
    asked = write_whole(source, folder, aside, text, device, events)
    return prove_and_quantize(source, folder, aside, quants, asked, events)


def write_whole(
    source: Source, folder: Path, aside: Path, text: str, device: str, events: EventLog
) -> Reference:
    """Write a model's folder into `aside` in float32, and return what transformers says, on the device."""
    events.write(Phase("writing GGUF in float32"))
    writer.write(source, folder, aside / whole_name(source))
    return ask_transformers(source, folder, text, aside / "reference", device, events)


def whole_name(source: Source) -> str:
    return f"{source.name}-f32.gguf"


def prove_and_quantize(
    source: Source, folder: Path, aside: Path, quants: Sequence[str], asked: Reference, events: EventLog
) -> Converted:
    """Prove the float32 file in `aside`, and write it in these formats; from here on the CPU alone computes."""
    whole = aside / whole_name(source)
    try:
        events.write(Phase("proving it with llama.cpp", releases_gpu=True))
        with started() as llama:
            converted = prove(llama.open(whole, asked.context, exact=True), source, folder, whole, asked)
            if converted.faults:
                return converted
            for number, quant in enumerate(quants):
                events.write(Phase(f"{quant}: writing and measuring", number, len(quants), "files"))
                converted.files.append(add_file(llama, source, whole, quant, asked, converted))
    finally:
        asked.file.unlink(missing_ok=True)
    if "f32" not in quants:
        whole.unlink()
    context = source.family.context(source.config)
    for file in converted.files:
        text = modelfile.modelfile(source, file.name, context)
        (aside / converted.modelfile_of(file)).write_text(text, encoding="utf-8")
    return converted


def ask_transformers(
    source: Source, folder: Path, text: str, file: Path, device: str, events: EventLog
) -> Reference:
    """Load the folder in float32 and keep what it says; it is out of memory afterwards."""
    events.write(Phase("asking transformers"))
    size = 4.0 * sum(shape.count for shape in tensors(folder).values())
    model = reference.load(folder, place_for(size, device))
    asked = reference.make(model, source, text, file)
    del model
    free_memory(device)
    return asked


def prove(model: Model, source: Source, folder: Path, whole: Path, asked: Reference) -> Converted:
    """Compare the float32 file, which llama.cpp has opened, with the model in all ways."""
    bound = proof.BOUND_OF_GELU if source.family.rounds_activations else proof.BOUND
    tokens = token_proof.prove(model, source)
    measured, answers = proof.measure(model, asked)
    faults = [*tokens.faults, *proof.faults_of(measured, bound), *answers]
    return Converted(
        tokens=tokens,
        proven=measured,
        faults=[*faults, *proof.file_faults(whole, source, folder)],
        notes=[*tokens.notes, *asked.notes],
        bound=bound.largest,
    )


def add_file(
    llama: Process, source: Source, whole: Path, quant: str, asked: Reference, converted: Converted
) -> File:
    """Write the float32 file in another format, and measure that."""
    target = whole.with_name(f"{source.name}-{quant}.gguf")
    assert converted.proven is not None
    measured = converted.proven if quant == "f32" else quantized(llama, whole, target, quant, asked)
    model = llama.open(target, asked.context)
    speed, formats = tokens_per_s(model, asked), model.facts.formats
    return File(target.name, quant, target.stat().st_size, formats, measured, speed)


def quantized(llama: Process, whole: Path, target: Path, quant: str, asked: Reference) -> Measured:
    """Write a file in another format, and measure it. Raises FinetopError if that can't hold the weights."""
    hint = f"Leave {quant} out; bf16 has the range of float32." if quant == "f16" else f"Leave {quant} out."
    try:
        llama.quantize(whole, target, quant)
        measured, _ = proof.measure(llama.open(target, asked.context, exact=True), asked)
    except BadInput as error:
        raise FinetopError(f"{quant}: {error.message}", hint=hint) from error
    if not math.isfinite(measured.nats):
        raise FinetopError(f"{quant}: the file's log-probabilities are not numbers.", hint=hint)
    return measured


def tokens_per_s(model: Model, asked: Reference) -> float | None:
    """Return how fast one answer comes, the prompt left out; None if it is too short to tell."""
    if not asked.answers:
        return None
    answer = model.generate(asked.answers[0].prompt, SPEED_TOKENS)
    next(answer)
    begun, count = time.monotonic(), 0
    for _ in answer:
        count += 1
    return count / max(time.monotonic() - begun, 1e-6) if count > 2 else None


def lines_of(converted: Converted, verdicts: Mapping[str, str]) -> list[str]:
    """Return what a person reads: the proof, and a table for choosing; `verdicts` are by number format."""
    proven = converted.proven
    assert proven is not None
    lines = [
        f"proven in float32 by llama.cpp: {converted.tokens.strings} texts get the same tokens,"
        f" {proven.largest:.1g} nats apart at most on {proven.tokens} tokens (allowed: {converted.bound:g}),"
        f" {proven.answers - proven.answers_differ} of {proven.answers} same answers"
    ]
    lines += [f"note: {note}" for note in converted.notes]
    width = max(len(file.name) for file in converted.files)
    head = f"{'file':{width}}  {'size':>9}  nats/token  {'KL':>7}  same answers   tokens/s on this CPU"
    lines.append(f"{head}  verdict")
    lines.append(f"{'the model':{width}}  {'':>9}  {proven.reference_nats:10.4f}")
    for file in converted.files:
        measured = file.measured
        alike = f"{measured.answers - measured.answers_differ} of {measured.answers}"
        speed = "" if file.tokens_per_s is None else f"{file.tokens_per_s:.0f}"
        line = f"{file.name:{width}}  {size_word(file.bytes):>9}  {measured.nats:10.4f}"
        line += f"  {max(measured.kl, 0.0):7.1g}  {alike:>13}  {speed:>8}"
        line += f"{'':13}  {verdicts.get(file.quant, ''):18}  {file.mix}"
        lines.append(line.rstrip())
    return lines
