"""One export: load as trained, score, merge, write, load again, score again, and publish if both agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from torch import Tensor

from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.export import by_tensor
from finetop.core.features.export.agreement import Agreement, compare, scores, windows
from finetop.core.features.export.wording import DETAIL
from finetop.core.features.remedies.messages import Candidate
from finetop.core.models import devices, load, merge as merging, resolve, save, weight_formats
from finetop.core.models.devices import free_memory, place_for, scoring_dtype
from finetop.core.models.hashes import fingerprint
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.models.resolved import ResolvedModel
from finetop.core.models.safetensors_header import tensors
from finetop.core.plugins import REMEDIES
from finetop.core.protocol.events import Phase
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


@dataclass(frozen=True)
class Remedied:
    """A remedy whose model is exported instead of the checkpoint, and the hash of its weights when it was scored."""

    candidate: Candidate
    weights: str

    def change(self, base: ResolvedModel, checkpoint: Path) -> Any:
        """Return the change (check/model_pair.py) that makes its model of a checkpoint; None: as it is."""
        return REMEDIES.load(self.candidate.remedy).change(self.candidate, base, checkpoint)


@dataclass(frozen=True)
class ExportRequest:
    """What to export and where: a run's checkpoint, in which number format; `auto` is the base model's own."""

    recipe: Recipe
    run_name: str
    step: int
    checkpoint: Path
    to: Path
    dtype: str
    device: str
    remedy: Remedied | None = None
    adapter: bool = False  # only the adapter: see core/features/export/adapter.py
    quants: tuple[str, ...] = ()  # as GGUF files of these formats: see core/features/export/gguf.py
    general: Mapping[str, Any] | None = None  # how the run was checked; None: files are not asked its items
    unasked: str = ""  # why not
    anyway: bool = False  # a REGRESSED file is written all the same
    warning: str = ""  # that the checkpoint regressed, or changed since its check
    verdict: str = ""  # of a remedy's model
    quiet: bool = False  # written on the way to something else: nothing is announced

    @property
    def name(self) -> str:
        """The exported model's name: RUN@STEP, with the remedy; or that it is the adapter only."""
        remedy = "" if self.remedy is None else f", {self.remedy.candidate.name}"
        return f"{self.run_name}@{self.step}{remedy}{', the adapter only,' if self.adapter else ''}"


def export(request: ExportRequest, text: str | None, home: Home, events: EventLog) -> list[Agreement]:
    """Write a checkpoint as one whole model, and verify that it agrees on `text`. Return the comparisons.

    Raises FinetopError if something does not agree (the files stay, under another name), Refused for an existing
    folder, EnvironmentTrouble without room on the disk, BadInput for a checkpoint that can't be read.
    """
    save.require_absent(request.to)
    events.write(Phase("finding the model"))
    base = resolve.resolve_model(request.recipe.model, home, events)
    work = scoring_dtype(request.recipe.model.dtype, base.path, request.device)
    written = format_of(request, base)
    save.require_room(request.to, base.path, written)
    warn_of_quantization(base)
    tuned, tokenizer = load_trained(request, base, work, events)
    texts = general_windows(text, tokenizer, tuned)
    trained = scores(tuned, texts)
    kind = load.torch_dtype(work, request.device)
    merger = None
    if request.remedy is None:
        merger = by_tensor.merger_for(base, tuned, request.checkpoint, kind)
    if merger is not None:
        del tuned
        return export_by_tensor(request, base, merger, tokenizer, trained, texts, work, events)
    events.write(Phase("merging"))
    whole = merge(request, base, tuned, work)
    del tuned
    agreements = [compare("merged vs. trained", trained, scores(whole, texts), work)]
    whole = save.recast(whole, load.torch_dtype(written, "file"))
    with save.beside(request.to) as aside:
        events.write(Phase("writing"))
        save.write(whole, tokenizer, facts_of(request, base), aside)
        rounded = scores(save.recast(whole, load.torch_dtype(work, request.device)), texts)
        del whole
        free_memory(request.device)
        events.write(Phase("loading it again"))
        reloaded = score_written(base, aside, texts, work, request.device)
        # Bit-identical in float32 on a CPU; a GPU may choose another kernel.
        agreements.append(compare("reloaded vs. merged", rounded, reloaded, work))
        agreements.append(compare("reloaded vs. trained", trained, reloaded, work, written))
        publish(request, base, written, agreements, aside)
    return agreements


def export_by_tensor(
    request: ExportRequest,
    base: ResolvedModel,
    merger: by_tensor.Merger,
    tokenizer: Tokenizer,
    trained: Tensor,
    texts: Tensor,
    work: str,
    events: EventLog,
) -> list[Agreement]:
    """Merge and write a checkpoint on a base in 4 bits tensor by tensor; then load and score the written model."""
    written = format_of(request, base)
    with save.beside(request.to) as aside:
        events.write(Phase("merging and writing"))
        kind = load.torch_dtype(written, "file")
        by_tensor.write(merger, base, kind, aside)
        by_tensor.write_settings(base, tokenizer, kind, aside)
        save.note(aside, facts_of(request, base))
        merger.let_go()
        free_memory(request.device)
        events.write(Phase("loading it again"))
        reloaded = score_written(base, aside, texts, work, request.device)
        agreements = [compare("reloaded vs. trained", trained, reloaded, work, written)]
        publish(request, base, written, agreements, aside)
    return agreements


def publish(
    request: ExportRequest, base: ResolvedModel, written: str, agreements: Sequence[Agreement], aside: Path
) -> None:
    """Move a written model into place if it agrees with the trained one. Raises FinetopError otherwise."""
    facts = {"dtype": written, "agreements": [asdict(agreement) for agreement in agreements]}
    save.note(aside, {**facts_of(request, base), **facts})
    require_agreement(request, agreements, aside)
    save.put(aside, request.to)
    if request.quiet:
        return
    print(f"exported {request.name} in {written}: {request.to}")
    for line in [*verdict_of(request), *(agreement.words for agreement in agreements)]:
        print(f"{DETAIL}{line}", flush=True)


def verdict_of(request: ExportRequest) -> list[str]:
    """Return the line about the verdict of a remedy's model; none for a checkpoint, whose check is the run's."""
    return [f"its own verdict: {request.verdict}"] if request.verdict else []


def format_of(request: ExportRequest, base: ResolvedModel) -> str:
    """Return the number format of the file, whatever this machine computes in. Raises BadInput."""
    wanted = "saved" if request.dtype == "auto" else request.dtype
    written = devices.number_format(wanted, base.path, "file")
    if written not in save.BYTES:
        raise BadInput(f"dtype: {base.id} is saved in {written}.", hint="Use --dtype bfloat16 or float32.")
    return written


def load_trained(
    request: ExportRequest, base: ResolvedModel, work: str, events: EventLog
) -> tuple[Any, Tokenizer]:
    """Load the checkpoint as it was trained.

    An int8 base also rounds its layers' inputs, which moves a token by up to 2 nats and has nothing to do with merging:
    there the adapter is scored on the dequantized base.
    """
    events.write(Phase("loading the model"))
    number_format = load.torch_dtype(work, request.device)
    if request.remedy is not None:
        return load_remedied(request, request.remedy, base, work, events)
    if weight_formats.load(base.quantize).rounds_inputs and load.is_adapter(request.checkpoint):
        tokenizer = load.tokenizer_of(base, request.checkpoint)
        return merging.load_written_out(base, request.checkpoint, number_format, request.device), tokenizer
    return merging.load_tuned(base, request.checkpoint, number_format, request.device)


def load_remedied(
    request: ExportRequest, remedy: Remedied, base: ResolvedModel, work: str, events: EventLog
) -> tuple[Any, Tokenizer]:
    """Load the checkpoint as it was scored, and rebuild the remedy's model. Raises FinetopError for other weights."""
    number_format = load.torch_dtype(work, request.device)
    if weight_formats.load(base.quantize).rounds_inputs:
        tuned = merging.load_written_out(base, request.checkpoint, number_format, request.device)
    else:
        tuned, _ = load_checkpoint(base, request.checkpoint, number_format, request.device)
    if (change := remedy.change(base, request.checkpoint)) is not None:
        events.write(Phase("building the remedy's model"))
        tuned = change.make(tuned)
        weights = fingerprint(tuned)
        if weights != remedy.weights:
            raise FinetopError(
                f"{request.name}: its weights are not those that were scored (sha256 {remedy.weights[:12]} then,"
                f" {weights[:12]} now); another device, or another version of torch, may round differently.",
                hint=f"Score it here first: finetop remedy {request.run_name} --only {remedy.candidate.name}.",
            )
        print(f"export: the weights are those that were scored: sha256 {weights[:12]}")
    tokenizer = load.tokenizer_of(base, request.checkpoint)
    return tuned.eval(), tokenizer


def merge(request: ExportRequest, base: ResolvedModel, tuned: Any, work: str) -> Any:
    """Merge the loaded model's adapter; a whole model is returned as it is."""
    if not hasattr(tuned, "merge_and_unload"):
        return tuned
    if base.quantize != "none" and not weight_formats.load(base.quantize).rounds_inputs:
        number_format = load.torch_dtype(work, request.device)
        tuned = merging.load_written_out(base, request.checkpoint, number_format, request.device)
        if request.remedy is not None and (change := request.remedy.change(base, request.checkpoint)):
            tuned = change.make(tuned)
    return merging.merged(tuned, request.checkpoint)


def require_agreement(request: ExportRequest, agreements: Sequence[Agreement], aside: Path) -> None:
    """Raise FinetopError for the first comparison out of bounds; the written model is kept for inspection."""
    broken = next((agreement for agreement in agreements if not agreement.holds), None)
    if broken is None:
        return
    kept = request.to.with_name(f"{request.to.name}.unproven")
    save.put(aside, kept)
    raise FinetopError(
        f"the exported model does not give the outputs of {request.run_name}@{request.step}. {broken.words}.",
        hint=f"It is in {kept}, for inspection. Try --dtype float32.",
    )


def warn_of_quantization(base: ResolvedModel) -> None:
    """Warn that a quantized base is exported with its rounding."""
    if base.quantize != "none":
        print(
            f"warning: the run trained on {base.id} quantized to {base.quantize}. The exported weights are the"
            " quantized weights plus the adapter, as trained, not the original weights plus the adapter."
        )


def general_windows(text: str | None, tokenizer: Tokenizer, model: Any) -> Tensor:
    """Cut the general text of the recipe's suite into windows that the model can read. Raises BadInput without text."""
    if not text:
        hint = "Set check.general.suite to one that has a text, such as quick."
        raise BadInput("check.general: its suite has no general text to compare on.", hint=hint)
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return windows(text, tokenizer, longest)


def score_written(base: ResolvedModel, folder: Path, texts: Tensor, work: str, device: str) -> Tensor:
    """Load a written model as a user would, and score the texts; what a GPU can't hold of it stays on the CPU."""
    resolved = replace(base, path=folder, quantize="none", chat_template=None)
    kind = load.torch_dtype(work, device)
    size = sum(shape.count for shape in tensors(folder).values()) * kind.itemsize
    model = merging.load_whole(resolved, kind, place_for(size, device))
    text_scores = scores(model, texts)
    del model
    free_memory(device)
    return text_scores


def facts_of(request: ExportRequest, base: ResolvedModel) -> dict[str, Any]:
    """Return where the written model comes from, as plain data."""
    return {
        "run": request.run_name,
        "step": request.step,
        "method": request.recipe.method.name,
        "objective": request.recipe.objective.name,
        "base": {"id": base.id, "revision": base.revision, "weights_hash": base.weights_hash},
        "quantize": base.quantize,
        **({"warning": request.warning} if request.warning else {}),
        **({"verdict": request.verdict} if request.verdict else {}),
        **({} if request.remedy is None else {"remedy": msgspec.to_builtins(request.remedy.candidate)}),
    }
