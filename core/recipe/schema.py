"""The sections of a recipe, version 1: every setting with its type, range, default and one line of help.

A setting's help is the text beside its type; FILE and ID mark paths, which are resolved against the folder of their
file. When a recipe extends another, sections merge and values are replaced; ONE_CHOICE and the marks below it are the
exceptions. Settings of a method or an objective are in its own module, as `Options`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.plugins import ALARMS, FORMATS, PROTECTIONS, Configured, PluginKind
from finetop.core.protocol.check_result import ALPHA, MARGIN, Metric
from finetop.core.recipe.columns import Columns, Labels
from finetop.core.recipe.optimizers import OPTIMIZERS
from finetop.core.recipe.weight_formats import Quantize
from finetop.core.text import listed

if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]

VERSION = 1

Count = Annotated[int, Meta(ge=1, le=10**9)]
Positive = Annotated[float, Meta(gt=0)]
Pace = Annotated[int, Meta(ge=1, le=10**9)] | Annotated[float, Meta(gt=0, le=1)]
PathText = Annotated[str, Meta(min_length=1, max_length=4096)]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Attention = Literal["auto", "sdpa", "flash_attention_2", "flex", "eager"]
EngineChoice = Literal["auto", "exact", "continuous", "vllm"]
Argument = Annotated[str, Meta(max_length=100_000)]
LongText = Annotated[str, Meta(min_length=1, max_length=20_000)]


FILE = Meta(extra={"path": "file"})  # a path, relative to the recipe's folder, or `builtin:NAME`
ID = Meta(extra={"path": "id"})  # a hub id, or a local folder if it starts with `./`, `../`, `/` or `~`
ONE_CHOICE = Meta(extra={"merges": False})  # a section that replaces an inherited one whole
MERGED = Meta(extra={"merges": True})  # a mapping that merges, although its keys are not settings of finetop


def belongs_to(setting: str) -> Meta:
    """Mark a setting that is dropped when the value of another one beside it changes."""
    return Meta(extra={"belongs_to": setting})


def instead_of(setting: str) -> Meta:
    """Mark one of two alternatives: writing either drops the other from the layer below."""
    return Meta(extra={"instead_of": setting})


def yields_to(setting: str) -> Meta:
    """Mark a setting that is dropped when another one beside it, which it would override, is written over it."""
    return Meta(extra={"yields_to": setting})


def fixed(why: str) -> Meta:
    """Mark a setting that can't change once a run has begun, and say why."""
    return Meta(extra={"fixed": why})


def on_change(does: str) -> Meta:
    """Mark what a change does to a resumed run; without the mark, it changes nothing of what is learned."""
    return Meta(extra={"on_change": does})


RESCHEDULED = on_change("follows the new schedule")
NEW_LENGTH = on_change("the learning rate follows the schedule of the new length")
FROM_HERE_ON = on_change("applies from here on")
AS_MEASURED = on_change("uses everything measured so far")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of a recipe: frozen, all settings by name, unknown ones refused."""


class Model(Section, frozen=True, kw_only=True):
    """The base model to fine-tune."""

    id: Annotated[
        Text,
        ID,
        "Hub id, a local folder (starts with ./, ../, / or ~), or run:NAME[@STEP]; in a chain stage:NAME.",
    ] = "smollm2-135m-instruct"
    dtype: Annotated[
        Literal["auto", "saved", "bfloat16", "float16", "float32"],
        "Number format of the weights; auto: bfloat16, float16 on a GPU without it, float32 on a CPU where that is "
        "faster; saved: as saved.",
    ] = "auto"
    quantize: Annotated[
        Quantize, "Load the linear layers in fewer bits; nf4 takes a quarter of bfloat16's memory."
    ] = "none"
    attention: Annotated[
        Attention, "Attention in training; auto is sdpa, for packed rows on a GPU flash_attention_2 or flex."
    ] = "auto"
    engine: Annotated[
        EngineChoice,
        "Generation engine for checks, samples, grpo and rloo; auto: exact, or continuous with flash-attn.",
    ] = "auto"
    revision: Annotated[
        Text | None, "Branch, tag or commit on the hub; null for the newest.", belongs_to("id")
    ] = None
    trust_remote_code: Annotated[
        bool, "Run Python code shipped with the model. Read that code first.", on_change("")
    ] = False
    chat_template: Annotated[
        PathText | None, FILE, "Jinja file that replaces the model's own chat template."
    ] = None


class Method(Section, frozen=True, kw_only=True):
    """Which weights are trained, and the method's settings (finetop methods)."""

    name: Annotated[str, "Which weights are trained."] = "lora"
    options: Any = None


class Objective(Section, frozen=True, kw_only=True):
    """The training objective and its settings."""

    name: Annotated[str, "The training objective."] = "sft"
    options: Any = None


class Source(Section, frozen=True, kw_only=True):
    """Rows of one data set: a local file (`path`) or a data set of the hub or a local folder (`id`)."""

    path: Annotated[
        PathText | None,
        FILE,
        "File of rows (.jsonl, .json, .csv, .tsv, .parquet, .txt, .md; .gz too), folder of one type, or data/*.csv.",
    ] = None
    id: Annotated[
        Text | None,
        ID,
        "A data set on the hub, or its local folder (starts with ./, ../, / or ~).",
        instead_of("path"),
    ] = None
    split: Annotated[Text | None, "Split of a data set given by id; null is train."] = None
    subset: Annotated[Text | None, "Configuration of a data set given by id."] = None
    format: Annotated[
        Text,
        f"Shape of the rows: {listed(FORMATS.names(), ' or ')}; auto: the first row decides (docs/formats.md).",
    ] = "auto"
    columns: Columns = {}
    labels: Labels = {}
    rows: Annotated[Count | None, "Use at most this many rows; null for all."] = None
    share: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        "Fraction of all training rows drawn from here, such as 0.3. At least one source must be null: all rows.",
    ] = None
    role: Annotated[
        Literal["train", "replay"], "replay marks general rows, mixed in to prevent forgetting."
    ] = "train"


class EvalShare(Section, frozen=True, kw_only=True):
    """Rows set aside from the training data."""

    share: Annotated[
        float, Meta(ge=0, le=0.5), "Share of the training rows set aside (0 to 0.5); 0 for no evaluation."
    ] = 0.1


class Data(Section, frozen=True, kw_only=True):
    """Training rows and held-out rows."""

    train: Annotated[tuple[Source, ...], "The training rows: a list of sources."] = ()
    eval: Annotated[
        tuple[Source, ...] | EvalShare, "Rows for the evaluation loss: a list of sources, or {share: 0.1}."
    ] = EvalShare()
    max_tokens: Annotated[
        int,
        Meta(ge=8, le=10**7),
        "Maximum row length in tokens, with what ask adds; in grpo, rloo and ppo the prompt alone.",
    ] = 1024
    on_long: Annotated[
        str,
        Meta(pattern=r"^(truncate|drop|error-over-[1-9]?[0-9]%)$"),
        "Longer rows: truncate, drop, or error-over-N% (drop, and refuse if over N % are too long).",
    ] = "error-over-5%"


class Ask(Section, frozen=True, kw_only=True):
    """Text added before each prompt, in training and in every evaluation."""

    system: Annotated[LongText | None, "System message for each prompt; joined to the row's own, if any."] = (
        None
    )
    shots: Annotated[
        int, Meta(ge=0, le=64), "Few-shot examples from data.train before each evaluated question."
    ] = 0
    pick: Annotated[
        Literal["fixed", "nearest"],
        "fixed: the same examples for every question; nearest: the most similar ones (BM25).",
    ] = "fixed"
    documents: Annotated[
        tuple[Annotated[PathText, FILE, "A file or folder of texts: .txt, .md, .jsonl with `text` …"], ...],
        "Documents to retrieve from: the best passages are put before each question.",
    ] = ()
    top_k: Annotated[int, Meta(ge=1, le=64), "Retrieved passages per question."] = 3
    chunk_words: Annotated[int, Meta(ge=10, le=10_000), "Maximum words per passage."] = 150
    overlap_words: Annotated[int, Meta(ge=0, le=1_000), "Words of overlap between consecutive passages."] = 20
    search: Annotated[
        Literal["bm25", "dense"],
        "Retrieval by words (bm25) or by vectors of a static embedding model (dense).",
    ] = "bm25"
    embedder: Annotated[Text | None, ID, "Embedding model; null for the default one."] = None


class StopEarly(Section, frozen=True, kw_only=True):
    """When training ends before its length: once a metric has stopped improving."""

    metric: Annotated[
        Literal["eval_loss", "target", "reward"],
        "eval_loss, the target's first metric (measured at checks during training), or the eval reward.",
    ] = "eval_loss"
    patience: Annotated[Count, "Stop after this many consecutive evaluations without improvement."] = 3
    min_delta: Annotated[
        float, Meta(ge=0, le=10**9), "Smallest change that counts as an improvement, in the metric's unit."
    ] = 0.0


class Train(Section, frozen=True, kw_only=True):
    """Training length, batches and optimizer. A step is one optimizer step."""

    epochs: Annotated[
        Annotated[float, Meta(gt=0, le=10_000)] | None,
        "Passes over the training rows; max_steps wins if both are set.",
        NEW_LENGTH,
    ] = 2.0
    max_steps: Annotated[
        Count | None,
        "Stop after exactly this many steps; null: epochs decides.",
        yields_to("epochs"),
        NEW_LENGTH,
    ] = None
    batch_size: Annotated[
        Count,
        "Rows per device and forward pass; pairs for dpo, answers for grpo, rloo and ppo.",
        on_change("changes the data order, and how far into an epoch a step is"),
    ] = 4
    eval_batch_size: Annotated[Count | None, "Batch size in evaluation; null for batch_size."] = None
    grad_accumulation: Annotated[
        Count,
        "Batches accumulated per step: as one large batch, in less memory.",
        on_change("changes how far into an epoch a step is"),
    ] = 4
    learning_rate: Annotated[
        float, Meta(gt=0, le=1), "Peak learning rate. Usual: 2e-4 for LoRA, 2e-5 for full.", RESCHEDULED
    ] = 2e-5
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], "Decay of the learning rate after the warm-up.", RESCHEDULED
    ] = "cosine"
    warmup_steps: Annotated[
        Annotated[int, Meta(ge=0, le=10**9)] | Annotated[float, Meta(ge=0, lt=1)],
        "Warm-up of the learning rate: steps (2) or share of the run (0.03).",
        RESCHEDULED,
    ] = 0.03
    optimizer: Annotated[
        OptimizerName,
        "Optimizer. The 8-bit ones keep their state in a quarter of the memory (GPU only).",
        fixed("the checkpoint holds the other optimizer's state"),
    ] = "adamw"
    master: Annotated[
        Literal["auto", "float32", "stochastic", "nearest"],
        "How 16-bit full tuning updates weights: float32 masters, or stochastic or nearest rounding.",
    ] = "auto"
    weight_decay: Annotated[
        float, Meta(ge=0, le=1), "Decoupled weight decay of the trained weights.", FROM_HERE_ON
    ] = 0.0
    activation_checkpointing: Annotated[
        bool | Literal["auto"],
        "Recompute activations: far less memory, a third slower; auto: where it would not fit otherwise.",
    ] = "auto"
    kernels: Annotated[
        Literal["none", "liger", "auto"],
        "liger: fused norms and activations of liger-kernel; auto: on a GPU, where it is installed and has them.",
    ] = "none"
    compile: Annotated[bool, "Compile the model with torch.compile: takes minutes at first, then faster."] = (
        False
    )
    max_grad_norm: Annotated[Positive, "Clip the gradient to this norm.", FROM_HERE_ON] = 1.0
    stop_on_nan: Annotated[
        Count | None,
        "Stop after N consecutive steps whose loss or gradient is NaN or infinite; null for never.",
        FROM_HERE_ON,
    ] = 10
    seed: Annotated[
        int, Meta(ge=0, lt=2**32), "Random seed of the run.", on_change("changes the data order")
    ] = 1
    eval_every: Annotated[Pace, "Evaluate every N steps (50) or share of the run (0.25)."] = 0.25
    save_every: Annotated[Pace, "Write a checkpoint every N steps (50) or share of the run (0.25)."] = 0.25
    keep_checkpoints: Annotated[Count | None, "Keep the newest N checkpoints; null for all."] = 4
    keep: Annotated[
        Literal["newest", "best"],
        "The checkpoint to use as the result: the newest, or the best by stop_early.metric.",
        AS_MEASURED,
    ] = "newest"
    stop_early: Annotated[
        StopEarly | None, "Stop once the metric no longer improves; null to train to the end.", AS_MEASURED
    ] = None
    resumable: Annotated[
        bool, "Save the optimizer state in checkpoints: `finetop resume` needs it; it takes disk space."
    ] = True
    try_worst_batch: Annotated[
        bool | Literal["auto"],
        "Try a step on the longest rows before step 1, so that too little memory fails early; auto: on a GPU.",
    ] = "auto"
    parallel: Annotated[
        Literal["auto", "ddp", "fsdp"],
        "On several GPUs: a full copy on each (ddp) or sharded weights (fsdp); auto: fsdp for full tuning.",
    ] = "auto"


class Samples(Section, frozen=True, kw_only=True):
    """Sample answers generated at each evaluation."""

    prompts: Annotated[tuple[Text, ...], "Prompts to answer; if empty, prompts of evaluation rows."] = ()
    count: Annotated[int, Meta(ge=0, le=100), "Answers per evaluation; 0 for none."] = 3
    max_new_tokens: Annotated[int, Meta(ge=1, le=10**5), "Maximum answer length in tokens."] = 64


class Rule(Section, frozen=True, kw_only=True):
    """A condition on an answer; every rule must hold. The rules are those of suites: core/recipe/answer_rules.py."""

    rule: Annotated[
        Text,
        "Name of a rule: regex, starts_with, contains, max_words, json_object …; all of them: docs/rules.md.",
    ]
    value: Annotated[
        Any, "The rule's value: contains takes a text, max_words a count, regex a pattern; one_word has none."
    ] = None


class Target(Section, frozen=True, kw_only=True):
    """What the tuned model should be better at."""

    path: Annotated[PathText, FILE, "Held-out rows with answers, or texts: a file, a folder or data/*.csv."]
    columns: Columns = {}
    labels: Labels = {}
    metric: Annotated[
        Metric | tuple[Metric, ...], "One metric or a list of them; for texts, nats_per_token."
    ] = "nats_per_token"
    rules: Annotated[tuple[Rule, ...], "For the metric rules: the rules that every answer must meet."] = ()
    written: Annotated[
        Count | None, "Rows for which an answer is generated; null for 200, or 24 on a CPU."
    ] = None
    max_new_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=10**5)] | None,
        "Maximum answer length in tokens; null for the longest reference answer plus 16, at most 256.",
    ] = None

    @property
    def source(self) -> Source:
        """The rows as a source of data."""
        return Source(path=self.path, columns=self.columns, labels=self.labels)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics as a list, however they were written."""
        return self.metric if isinstance(self.metric, tuple) else (self.metric,)


class General(Section, frozen=True, kw_only=True):
    """What the tuned model must not have forgotten."""

    suite: Annotated[Text, ID, "Name of the suite of tasks, or its file (starts with ./, ../, / or ~)."] = (
        "quick"
    )
    margin: Annotated[
        float, Meta(gt=0, le=100), "The drop that counts as forgetting, in percentage points."
    ] = MARGIN
    alpha: Annotated[float, Meta(gt=0, lt=0.5), "Highest probability of a wrong verdict."] = ALPHA
    seed: Annotated[int, Meta(ge=0, lt=2**32), "Random seed for the order of the items."] = 1


class Check(Section, frozen=True, kw_only=True):
    """Did it learn, and did it forget?"""

    at_end: Annotated[bool, "Check the tuned model when training ends."] = True
    every: Annotated[
        Pace | None,
        "Check during training, every N steps (50) or share of the run (0.25); null for only at the end.",
    ] = None
    on_fail: Annotated[
        Literal["flag", "stop", "keep-best"],
        "If REGRESSED during training: flag it, stop, or go on and keep the best checkpoint that is OK.",
    ] = "flag"
    target: Annotated[Target | None, ONE_CHOICE, "What the model should get better at."] = None
    general: Annotated[
        General | None,
        "What the model must not forget; null turns the check off (then leave out every and on_fail).",
    ] = General()


class Drift(Section, frozen=True, kw_only=True):
    """Early warning: loss on general text compared with the base model."""

    every: Annotated[Pace | None, "Measure every N steps (50) or share of the run (0.1); null for never."] = (
        0.1
    )
    limit: Annotated[Positive, "Alarm when the loss has risen by this much, in nats/token."] = 0.1


class Update(Section, frozen=True, kw_only=True):
    """New facts that arrive after set-up: their documents, training rows and questions."""

    documents: Annotated[
        tuple[Annotated[PathText, FILE, "A file or folder of texts."], ...],
        "Documents with the new facts, for approaches that retrieve.",
    ] = ()
    train: Annotated[tuple[Source, ...], "Training rows with the new facts, for approaches that train."] = ()
    test: Annotated[PathText, FILE, "Questions about the new facts, in the format of check.target."]


class Comparison(Section, frozen=True, kw_only=True):
    """Prompt, few-shot, retrieval and training side by side."""

    only: Annotated[tuple[Text, ...], "Approaches to compare; if empty, all that the recipe allows."] = ()
    metric: Annotated[Metric | None, "Metric to compare by; null for the first of check.target.metric."] = (
        None
    )
    seeds: Annotated[int, Meta(ge=1, le=50), "Seeds per trained approach: one run for each."] = 1
    settings: Annotated[
        dict[str, dict[str, Any]], "Settings for single approaches: {full: {train.learning_rate: 1e-5}}."
    ] = {}
    update: Annotated[Update | None, ONE_CHOICE, "New facts that arrive later; null for none."] = None


class Budget(Section, frozen=True, kw_only=True):
    """Limits of the run."""

    gpus: Annotated[
        Annotated[int, Meta(ge=0, le=1024)] | None,
        "Number of GPUs to train on; null is one if the machine has any, else none.",
    ] = None
    nodes: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        "Cluster nodes to spread the GPUs over evenly; null is one. More than one needs slurm in settings.yaml.",
    ] = None
    memory_gib: Annotated[Positive | None, "Memory limit per GPU, in GiB; null for all of it."] = None
    hours: Annotated[
        Positive | None,
        "Save a checkpoint and stop after this many hours of training, resumes included; null for no limit.",
    ] = None
    tokens: Annotated[
        Annotated[int, Meta(ge=1, lt=2**53)] | None,
        "Save a checkpoint and stop after this many tokens, at the end of that step; null for no limit.",
    ] = None


class Command(Section, frozen=True, kw_only=True):
    """Another training program, started as it is; `command: [python, train.py]` is short for `run`."""

    run: Annotated[tuple[Argument, ...], "The program and its arguments; no shell reads them."] = ()
    shell: Annotated[LongText | None, "A line for /bin/sh instead.", instead_of("run")] = None
    workdir: Annotated[PathText, FILE, "Folder to start it in; left out: the recipe's folder."] = "."
    env: Annotated[
        dict[str, Argument | int | float],
        MERGED,
        "Environment variables, over those of the machine's supervisor.",
    ] = {}
    values: Annotated[
        dict[str, str | float | int | bool],
        MERGED,
        "Values of the placeholders {name} in run, shell, env and output: what a sweep varies.",
    ] = {}
    output: Annotated[
        PathText | None, "Folder that it writes its model to, from workdir; null: its own --output_dir."
    ] = None
    metrics: Annotated[
        tuple[Text, ...],
        "Where its numbers come from: auto, none, or KIND or KIND:PATH (kinds: finetop methods).",
    ] = ("auto",)
    pattern: Annotated[
        Text | None,
        "Regular expression for the lines that it prints: its groups name the step and the metrics.",
    ] = None
    stop_signal: Annotated[
        Literal["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"], "Signal that asks it to stop."
    ] = "SIGTERM"
    grace_s: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)],
        "Seconds that it gets to end after the signal; then it is killed.",
    ] = 60.0
    silence_s: Annotated[
        Annotated[float, Meta(ge=1, le=1e7)] | None,
        "Seconds without output or numbers that are normal; longer, and it is HUNG. null: not known, and it is "
        "only called SILENT after the home's hung.after_s.",
    ] = None
    resume_command: Annotated[
        tuple[Argument, ...],
        "The command that resumes the run after a pause, or on a resume or a retry; {checkpoint} is the newest "
        "one of the output. Empty: it can't be paused.",
    ] = ()


def _of_folder(name: str, plugins: PluginKind[Configured[Any]], about: str) -> type[msgspec.Struct]:
    """Return a section class with a setting for each plugin: its Options."""
    return msgspec.defstruct(
        name,
        [(key, plugins.load(key).options, plugins.load(key).options()) for key in plugins.names()],
        bases=(Section,),
        namespace={"__doc__": about},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


if TYPE_CHECKING:

    class Alarms(Section, frozen=True, kw_only=True):
        """Alarms during training: a section for each (docs/alarms.md), on by default."""

    class Protect(Section, frozen=True, kw_only=True):
        """Protections against forgetting: a section for each (docs/methods.md), off by default."""

else:
    Alarms = _of_folder("Alarms", ALARMS, "Alarms during training: one section for each.")
    Protect = _of_folder("Protect", PROTECTIONS, "Protections against forgetting: one section for each.")


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe with all its defaults filled in."""

    recipe: Annotated[Literal[1], "Version of the recipe format; always 1."] = 1
    name: Annotated[str, "Name of the run: letters, digits, . _ -; default: the file's."]
    about: Annotated[Annotated[str, Meta(max_length=1000)], "Purpose of the run, in one line."] = ""
    extends: Annotated[Text | None, "Recipe to start from: the name of a built-in one, or a path."] = None
    model: Model = Model()
    method: Method
    objective: Objective
    command: Annotated[Command | None, "Another program that trains, instead of finetop's own trainers."] = (
        None
    )
    data: Data = Data()
    ask: Ask = Ask()
    train: Train = Train()
    samples: Samples = Samples()
    check: Check = Check()
    drift: Drift = Drift()
    alarms: Alarms = Alarms()
    budget: Budget = Budget()
    protect: Protect = Protect()
    approaches: Comparison = Comparison()
    trainer_args: Annotated[
        dict[str, Any], MERGED, "Extra options for the trainer's config class, such as TRL's SFTConfig."
    ] = {}
