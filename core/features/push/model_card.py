"""The model card of a run: what it is, its verdict, how it was trained on what, and how to load it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from finetop.core.data import hub
from finetop.core.errors import FinetopError, Refused
from finetop.core.features.data_versions.wording import source_words
from finetop.core.features.push.card_verdict import checked, other_weights, remedied
from finetop.core.features.push.messages import PICTURE, Card, Kind, PublicScore
from finetop.core.features.remedies.wording import own_verdict
from finetop.core.features.report.formats.markdown import block_text, fenced
from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import Block, Chart, Table
from finetop.core.features.report.png import png
from finetop.core.features.report.sections.check import verdict
from finetop.core.features.report.sections.training import DRIFT, curves
from finetop.core.plugins import METHODS, OBJECTIVES, PluginKind, writes_text
from finetop.core.protocol.check_result import CheckResult
from finetop.core.protocol.data_diff import SourceRow
from finetop.core.protocol.runs import RemedyRow
from finetop.core.recipe.dotted import flat_settings, flat_texts
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.recipe.protections import chosen
from finetop.core.text import clean_line
from finetop.core.wording.check_markdown import escape, span

# a GGUF file of a run is a tuned model first: the hub's "quantized" is for the base's own weights
RELATIONS: dict[Kind, str] = {"adapter": "adapter", "merged": "finetune", "gguf": "finetune"}
LIBRARIES: dict[Kind, str] = {"adapter": "peft", "merged": "transformers"}  # the hub knows GGUF by its files
REASON = 160  # characters of a reason on one line
SETTINGS = ("method", "objective", "train")  # sections of the recipe that the card shows whole
# of others it shows what differs from the default; these are told elsewhere on it, or change nothing of what is
# learned: they are for the machine, or for who watched it train
NOT_SHOWN = (
    *("recipe", "name", "about", "extends", "model.id", "model.revision"),
    *("model.attention", "model.engine"),
    *("check", "budget", "samples", "drift", "alarms", "method.name", "objective.name"),
    *("train.eval_every", "train.save_every", "train.keep_checkpoints", "train.keep", "train.resumable"),
    *("train.try_worst_batch", "train.parallel", "train.compile", "train.kernels", "train.stop_on_nan"),
    "train.activation_checkpointing",
)
# The folders of a path: a card names files alone
_FOLDERS = re.compile(r"(?<![\w.:/\\-])(?:~|\.{1,2})?(?:/[\w.+@~-]+)+/(?=[\w.+@-])")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is published: which model of the run, in which form, under which name."""

    repo: str
    step: int
    kind: Kind
    quants: str = ""  # of GGUF files
    remedy: RemedyRow | None = None

    @property
    def name(self) -> str:
        return self.repo.rpartition("/")[2]


def refusal(facts: RunFacts, pushed: Pushed) -> FinetopError | None:
    """Return why the model is published only if the user insists, as it regressed or has no verdict; else None."""
    name = f"{facts.detail.row.name}@{pushed.step}"
    hint = "Publish it nevertheless: --anyway (the card says so)."
    if pushed.remedy is not None:
        row = pushed.remedy
        if (row.confirmation or row.verdict) == "ok":
            return None
        word, sentence = own_verdict(row)
        return Refused(f"{name} with {row.name} is {word}: {sentence}.", hint=hint)
    outcome = facts.outcome
    if outcome is not None and is_of_other_weights(facts, pushed):
        check = f"Check them: finetop check {name}. Or publish them: --anyway (the card says so)."
        return Refused(f"the weights of {name} changed since they were checked.", hint=check)
    if outcome is None:
        check = f"Check it first: finetop check {name}. Or publish it unchecked: --anyway."
        return Refused(f"{name} has no verdict: nothing shows what it forgot.", hint=check)
    if outcome.verdict == "ok":
        return None
    if outcome.verdict == "no_verdict":
        reason = clean_line(outcome.reason, limit=REASON).rstrip(".")
        return Refused(f"{name} has no verdict: {reason}.", hint=hint)
    word, _, sentence, _ = verdict(facts)
    return Refused(clean_line(f"{name} is {word}: {sentence}").rstrip(".") + ".", hint=hint)


def is_of_other_weights(facts: RunFacts, pushed: Pushed) -> bool:
    """Return whether the step's newest verdict is of other weights than it has now, or may be."""
    return (
        next((check.weights_now for check in facts.detail.checks if check.step == pushed.step), "same")
        != "same"
    )


def card_of(facts: RunFacts, pushed: Pushed, version: str, prompt: str = "") -> Card:
    """Write the card of a run's model, with its metadata, its curves and the scores of completed benchmarks.

    `prompt` is an example of what the model is for, as it reads it.
    """
    facts = without_triage(facts)
    charts = charts_of(facts)
    parts = [
        f"# {escape(pushed.name)}",
        about(facts, pushed, version),
        *(
            ["## Example prompt", "As the model reads it; its answer follows.", fenced(prompt)]
            if prompt
            else []
        ),
        *loading_parts(facts, pushed),
        *verdict_parts(facts, pushed),
        *training_parts(facts, has_charts=bool(charts)),
        *data_parts(facts),
    ]
    body = _FOLDERS.sub("", "\n\n".join(parts))
    has_scores = facts.outcome is not None and pushed.remedy is None and pushed.kind != "gguf"
    scores = list(public_scores(facts.outcome, version)) if has_scores and facts.outcome else []
    picture = png(charts, []) if charts else b""
    return Card(metadata(facts, pushed), body, picture, scores, datasets(facts.detail.sources))


def charts_of(facts: RunFacts) -> list[Chart]:
    """Return the curves for the picture; that of drift only if the check measured none, which is on other text."""
    charts = [block for block in curves(facts) if isinstance(block, Chart)]
    has_drift = facts.outcome is not None and facts.outcome.drift is not None
    return [chart for chart in charts if not (has_drift and chart.title == DRIFT)]


def without_triage(facts: RunFacts) -> RunFacts:
    """Leave out who accepted a regression: a card names no user."""
    row = msgspec.structs.replace(facts.detail.row, check=None)
    return replace(facts, detail=msgspec.structs.replace(facts.detail, row=row))


def metadata(facts: RunFacts, pushed: Pushed) -> dict[str, Any]:
    """Return the card's metadata; the licence is looked up where the files are."""
    row, base = facts.detail.row, base_of(facts)
    found: dict[str, Any] = {}
    if base:
        found = {"base_model": base, "base_model_relation": RELATIONS[pushed.kind]}
    if pushed.kind in LIBRARIES:
        found["library_name"] = LIBRARIES[pushed.kind]
    found["pipeline_tag"] = "text-generation" if writes_text(row.objective) else "text-classification"
    found["tags"] = ["finetop", row.method, row.objective, *(["gguf"] if pushed.kind == "gguf" else [])]
    if used := datasets(facts.detail.sources):
        found["datasets"] = used
    return found


def base_of(facts: RunFacts) -> str:
    """Return the base model's id on the hub; empty if it has none."""
    return hub.id_of(str(facts.detail.recipe["model"]["id"]))


def datasets(sources: list[SourceRow]) -> list[str]:
    """Return the data sets of the hub that a run learned from."""
    learned = (row.path for row in sources if row.use in ("train", "replay") and row.revision)
    return list(dict.fromkeys(path for path in learned if path.count("/") == 1 and not hub.is_local(path)))


def about(facts: RunFacts, pushed: Pushed, version: str) -> str:
    """Return the base, the method, the objective, the files and the run, a line each."""
    row = facts.detail.row
    base = base_of(facts)
    named = f"[`{base}`](https://huggingface.co/{base})" if base else "a local model"
    forms = {
        "adapter": "the adapter alone, to load beside the base model",
        "merged": "the whole model",
        "gguf": f"GGUF files ({pushed.quants})",
    }
    changed = [] if pushed.remedy is None else [f"**Changed after training:** {escape(pushed.remedy.label)}"]
    lines = [
        f"**Base model:** {named}",
        f"**Method:** {_explained(METHODS, row.method)}",
        f"**Objective:** {_explained(OBJECTIVES, row.objective)}",
        *changed,
        f"**Files:** {forms[pushed.kind]}",
        f"**From:** step {pushed.step:,} of the run {escape(row.name)}, published by finetop {version}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _explained(kind: PluginKind[Any], name: str) -> str:
    """Return a method or an objective with what it does: '`lora`: low-rank adapters'; only the name of another's."""
    does = kind.load(name).about.partition(":")[0] if name in kind.names() else ""
    return f"{span(name)}: {escape(does)}" if does else span(name)


def verdict_parts(facts: RunFacts, pushed: Pushed) -> Iterator[str]:
    """Yield the verdict on what is published, with its reasons."""
    yield "## What it forgot"
    if pushed.kind == "gguf":
        yield "The model before its weights were rounded; what that changed is under Verified files."
    if pushed.remedy is not None:
        yield from remedied(pushed.remedy)
    elif is_of_other_weights(facts, pushed):
        yield other_weights(facts)
    else:
        yield from checked(facts)


def training_parts(facts: RunFacts, *, has_charts: bool) -> Iterator[str]:
    """Yield the curves, the settings, the machine and the energy."""
    yield "## Training"
    if has_charts:
        yield f"![Curves over {facts.last:,} steps]({PICTURE})"
    detail = facts.detail
    settings = tuple(settings_of(detail.recipe).items())
    yield "<details><summary>Settings</summary>"
    yield block_text(Table(("setting", "value"), settings))
    yield "</details>"
    lines = []
    trainable, whole = detail.planned.get("trainable_parameters"), detail.planned.get("parameters")
    if trainable and whole:
        lines.append(f"{trainable / 1e6:,.1f} of {whole / 1e6:,.0f} M parameters were trained.")
    if detail.versions:
        lines.append(", ".join(f"{name} {number}" for name, number in detail.versions.items()))
    rows = () if facts.comparison is None else facts.comparison.rows
    energy = [one.energy_wh for one in rows if any(run.name == detail.row.name for run in one.runs)]
    lines += [f"Energy of the GPUs: {used:,.1f} Wh." for used in energy if used is not None]
    if lines:
        yield "\n".join(f"- {escape(line)}" for line in lines)


def settings_of(recipe: dict[str, Any]) -> dict[str, str]:
    """Return the method, the objective, the training and the protections whole, and what else is not the default."""
    used = {name: recipe["protect"][name] for name in chosen(recipe_from_resolved(recipe))}
    shown = {name: recipe[name] for name in SETTINGS if recipe.get(name)} | (
        {"protect": used} if used else {}
    )
    unset = {key for key, value in flat_settings(shown) if value in (None, {}, [])}
    settings = {
        key: text for key, text in flat_texts(shown).items() if key not in unset and not _is_left_out(key)
    }
    defaults = {field.key: field.default for field in fields()}
    for key, value in flat_settings(recipe, of_item=None):
        is_default = key not in defaults or value in (defaults[key], None)
        is_told = key.startswith(("protect.", *(f"{name}." for name in SETTINGS))) or _is_left_out(key)
        if not is_told and not is_default and not _has_sections(value):
            settings[key] = flat_texts({key: value})[key]
    return settings


def _is_left_out(key: str) -> bool:
    return key in NOT_SHOWN or key.startswith(tuple(f"{name}." for name in NOT_SHOWN))


def _has_sections(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def data_parts(facts: RunFacts) -> Iterator[str]:
    """Yield the data: rows, the hash that identifies them, and the commit of a data set on the hub."""
    if not facts.detail.sources:
        return
    yield "## Data"
    of_hub = any(row.revision for row in facts.detail.sources)
    rows = tuple(
        (
            source_words(row),
            row.use,
            f"{row.rows:,}",
            row.content[:16],
            *([row.revision[:12]] if of_hub else []),
        )
        for row in facts.detail.sources
    )
    head = ("source", "used as", "rows", "sha256 of its rows", *(["commit"] if of_hub else []))
    table: Block = Table(head, rows, right=(2,))
    yield block_text(table)


# --- scores of public benchmarks ----------------------------------------------------------------------------


class Benchmark(NamedTuple):
    dataset: str  # on the hub
    part: str  # its subset there
    items: int  # of the split that the lm-evaluation-harness scores


# By the harness's name. A suite's cap, or a verdict that came early, leaves items out: that is no score of a benchmark.
BENCHMARKS = {
    "arc_easy": Benchmark("allenai/ai2_arc", "ARC-Easy", 2376),
    "arc_challenge": Benchmark("allenai/ai2_arc", "ARC-Challenge", 1172),
    "boolq": Benchmark("aps/super_glue", "boolq", 3270),
    "gsm8k": Benchmark("openai/gsm8k", "gsm8k", 1319),
    "hellaswag": Benchmark("Rowan/hellaswag", "default", 10042),
    "ifeval": Benchmark("google/IFEval", "default", 541),
    "lambada_openai": Benchmark("EleutherAI/lambada_openai", "default", 5153),
    "openbookqa": Benchmark("allenai/openbookqa", "main", 500),
    "piqa": Benchmark("baber/piqa", "default", 1838),
    "sciq": Benchmark("allenai/sciq", "default", 1000),
    "truthfulqa_mc1": Benchmark("truthfulqa/truthful_qa", "multiple_choice", 817),
    "winogrande": Benchmark("allenai/winogrande", "winogrande_xl", 1267),
}


def public_scores(outcome: CheckResult, version: str) -> Iterator[PublicScore]:
    """Yield the tuned model's score on each public benchmark that was scored to its last item."""
    for task in outcome.tasks:
        benchmark = BENCHMARKS.get(task.task)
        if benchmark is None or task.tuned is None or not task.n == task.total == benchmark.items:
            continue
        notes = f"lm-evaluation-harness task {task.task}, all {task.n:,} items, by finetop {version}"
        yield PublicScore(task.task, benchmark.dataset, benchmark.part, round(100 * task.tuned, 2), notes)


# --- how to load it ---------------------------------------------------------------------------------------


def loading_parts(facts: RunFacts, pushed: Pushed) -> Iterator[str]:
    """Yield the commands and code that load what is published."""
    yield "## How to load it"
    repo = pushed.repo
    if pushed.kind == "gguf":
        quant = "Q8_0" if pushed.quants == "all" else pushed.quants.split(",")[0].upper()
        yield code("bash", f"ollama run hf.co/{repo}:{quant}", f"llama-cli -hf {repo}:{quant}")
        return
    is_reward = not writes_text(facts.detail.row.objective)
    auto = "AutoModelForSequenceClassification" if is_reward else "AutoModelForCausalLM"
    labels = ", num_labels=1" if is_reward else ""
    first = f"from transformers import {auto}, AutoTokenizer"
    tokenizer = f'tokenizer = AutoTokenizer.from_pretrained("{repo}")'
    if pushed.kind == "merged":
        yield code("python", first, "", f'model = {auto}.from_pretrained("{repo}"{labels})', tokenizer)
        if not is_reward:
            yield code("bash", f"vllm serve {repo}")
        return
    recipe = facts.detail.recipe["model"]
    base, quantize = base_of(facts), recipe.get("quantize", "none")
    at = f', revision="{recipe["revision"]}"' if recipe.get("revision") else ""
    yield code(
        "python",
        "from peft import PeftModel",
        first,
        "",
        f'base = {auto}.from_pretrained("{base}"{at}{labels})',
        f'model = PeftModel.from_pretrained(base, "{repo}")',
        tokenizer,
    )
    if not is_reward:
        yield code("bash", f"vllm serve {base} --enable-lora --lora-modules {pushed.name}={repo}")
    if quantize not in ("none", None):
        yield f"It was trained beside that model in {quantize}: load the base the same way to reproduce it exactly."


def code(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
