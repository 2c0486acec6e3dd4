"""Completes an exported folder for the hub: the card, the picture, benchmark scores, and no local paths in settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.data import hub
from finetop.core.errors import BadInput
from finetop.core.features.export.wording import points
from finetop.core.features.push.messages import PICTURE, Card, Kind
from finetop.core.models.save import FACTS
from finetop.core.protocol.exports import ExportVerdict
from finetop.core.runtime.files import write_whole
from finetop.core.wording.units import size_word
from finetop.core.wording.verdicts import WORDS

README, SCORES = "README.md", ".eval_results/finetop.yaml"
ADAPTER = "adapter_config.json"
LEFT_OUT = (".cache", ".git")  # of huggingface_hub and git, not of the model
UNKNOWN = "not known"
TO_FILL = "unknown"  # the hub's word for a licence that nobody has stated yet
APART = (
    "How far the written weights are from the trained ones, on general text: the mean and the largest difference"
    " between the log-probabilities (nats) that both give a token."
)
ALL = "all"  # formats of GGUF files


class PushRequest(msgspec.Struct, frozen=True):
    """What to publish, from which folder, and where."""

    run_name: str
    step: int
    base_id: str  # as the recipe names it
    folder: Path
    repo: str
    kind: Kind
    remedy: str
    quants: str
    public: bool
    dry_run: bool
    card: Card


def complete(request: PushRequest) -> None:
    """Write the card and what belongs to it into the folder, and name the base by its hub id.

    Raises BadInput for a folder of something else, and for an adapter whose base is a local folder.
    """
    facts = facts_of(request)
    if request.kind == "adapter":
        name_base(request, facts)
    facts["base"]["id"] = hub.id_of(request.base_id) or Path(request.base_id).name
    write_json(request.folder / FACTS, facts)
    files = {README: card_text(request, facts).encode()}
    if request.card.picture:
        files[PICTURE] = request.card.picture
    if request.card.scores:
        files[SCORES] = scores_text(request).encode()
    for name, content in files.items():
        file = request.folder / name
        file.parent.mkdir(exist_ok=True)
        write_whole(file, content)


def facts_of(request: PushRequest) -> dict[str, Any]:
    """Return what the export noted in the folder. Raises BadInput for a folder that is not this export."""
    try:
        facts: dict[str, Any] = json.loads((request.folder / FACTS).read_text(encoding="utf-8"))
        remedy = facts.get("remedy", {}).get("name", "")
        wanted = (request.run_name, request.step, request.remedy, request.kind)
        held = (facts["run"], facts["step"], remedy, kind_of(request.folder))
        quants = {file["quant"] for file in facts.get("files", ())}
        has_quants = request.quants in ("", ALL) or quants == set(request.quants.split(","))
        if held == wanted and has_quants and facts["base"]["id"]:
            return facts
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    formats = f" in {request.quants}" if request.quants else ""
    raise BadInput(
        f"{request.folder} is not the {request.kind} export of {request.run_name}@{request.step}{formats}.",
        hint="Give another folder: --to DIR.",
    )


def kind_of(folder: Path) -> Kind:
    if (folder / ADAPTER).is_file():
        return "adapter"
    return "gguf" if any(folder.glob("*.gguf")) else "merged"


def files_of(folder: Path) -> list[str]:
    """Return the files that are published, sorted. Raises BadInput for a link."""
    paths = [path for path in sorted(folder.rglob("*")) if path.relative_to(folder).parts[0] not in LEFT_OUT]
    if (link := next((path for path in paths if path.is_symlink()), None)) is not None:
        raise BadInput(f"{link} is a link.", hint="Put a copy of the file in its place, or remove it.")
    return [str(path.relative_to(folder)) for path in paths if path.is_file()]


def name_base(request: PushRequest, facts: dict[str, Any]) -> None:
    """Name an adapter's base by its hub id: PEFT writes the folder that it was loaded from. Raises BadInput."""
    file = request.folder / ADAPTER
    settings = json.loads(file.read_text(encoding="utf-8"))
    base = hub.id_of(request.base_id)
    if base:
        write_json(file, {**settings, "base_model_name_or_path": base, "revision": facts["base"]["revision"]})
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    at = next((n for n, line in enumerate(lines, 1) if "base_model_name_or_path" in line), 1)
    raise BadInput(
        f"{ADAPTER}:{at}: base_model_name_or_path is a folder of this machine, which nobody else can load.",
        hint="Push the whole model: --merged.",
    )


def write_json(file: Path, content: dict[str, Any]) -> None:
    write_whole(file, json.dumps(content, indent=2, ensure_ascii=False).encode())


# --- the card ---------------------------------------------------------------------------------------------


def card_text(request: PushRequest, facts: dict[str, Any]) -> str:
    """Return the card with its metadata and what only this machine knows. Raises BadInput if it is invalid."""
    from huggingface_hub import ModelCard, ModelCardData

    base = hub.id_of(request.base_id)
    licences = {name: hub.licence(name, kind) for name, kind in named(request)}
    metadata = {**request.card.metadata, "license": licences.get(base) or TO_FILL}
    body = "\n\n".join(
        [
            request.card.body.rstrip(),
            *licence_lines(licences, is_stated=bool(licences.get(base))),
            *file_lines(request, facts),
        ]
    )
    text = f"---\n{ModelCardData(**metadata).to_yaml()}\n---\n\n{body}\n"
    read = ModelCard(text).data
    if wrong := [name for name, value in metadata.items() if read.get(name) != value]:
        raise BadInput(f"{README}: huggingface_hub does not read back {', '.join(wrong)} of its metadata.")
    return text


def named(request: PushRequest) -> list[tuple[str, hub.HubKind]]:
    """Return the repositories of the hub that the run depends on."""
    base = hub.id_of(request.base_id)
    models: list[tuple[str, hub.HubKind]] = [(base, "model")] if base else []
    return [*models, *((name, "dataset") for name in request.card.datasets)]


def licence_lines(licences: dict[str, str], *, is_stated: bool) -> list[str]:
    lines = [f"- `{name}`: {licence or UNKNOWN}" for name, licence in licences.items()]
    if not is_stated:
        lines.append("- this model: not stated. Fill in `license` at the top of this card.")
    return ["## Licences", "\n".join(lines)] if lines else []


def file_lines(request: PushRequest, facts: dict[str, Any]) -> list[str]:
    """Return how the files were verified: their number format, and how far outputs are from the trained model's."""
    proof = facts.get("proof") or {}  # of GGUF files
    lines = [f"Weights in {facts['dtype']}."] if facts.get("dtype") and not proof else []
    if request.base_id == hub.ALIAS and not facts["base"]["revision"]:
        lines.append(f"The base was a copy of {hub.HUB_ID} in 4 bits: outputs beside the original differ.")
    if any(not agreement.get("of_texts") for agreement in facts.get("agreements", ())):
        lines.append(APART)
    for agreement in facts.get("agreements", ()):
        apart = "in its reward" if agreement.get("of_texts") else "nats/token"
        lines.append(
            f"{agreement['of'].capitalize()}: {agreement['mean']:.2g} {apart} apart on average,"
            f" {agreement['largest']:.2g} at most ({agreement['tokens']} compared)."
        )
    if proof:
        lines.append(f"llama.cpp finds the tokens of {proof['strings']} texts as the trained tokenizer does.")
    for file in facts.get("files", ()):
        alike = f"{file['answers'] - file['answers_differ']} of {file['answers']} answers are the same"
        nats = f"{file['nats']:.4f} nats/token of general text (trained: {file['reference_nats']:.4f})"
        lines.append(f"`{file['file']}`, {size_word(file['bytes'])}: {nats}, {alike}{verdict_words(file)}.")
    return ["## Verified files", "\n".join(f"- {line}" for line in lines)] if lines else []


def verdict_words(file: dict[str, Any]) -> str:
    """Return what rounding cost a GGUF file on the items of the run's check: its own verdict."""
    if not file.get("verdict"):
        return ""
    verdict = msgspec.convert(file["verdict"], ExportVerdict)
    moved = f" {points(verdict)} points" if points(verdict) else ""
    items = f"{verdict.items_used:,} of {verdict.items_total:,} items of {verdict.suite}"
    return f"; {WORDS[verdict.verdict]}{moved} against the trained model on {items}"


def scores_text(request: PushRequest) -> str:
    """Return the scores of completed public benchmarks, in the hub's own form."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=score.dataset, task_id=score.part, value=score.value, notes=score.notes or None
        )
        for score in request.card.scores
    ]
    return str(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False))
