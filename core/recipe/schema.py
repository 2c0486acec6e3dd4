"""The sections of a recipe, version 1: every setting with its type, range, default and one line of help.

A setting's help is the `description` of its Meta; `extra={"path": …}` marks a path, which is
resolved against the folder of the file that wrote it. When a recipe extends another, sections merge and values are
replaced; one_choice() and the marks below it say where that is otherwise. Settings of a method or an objective live in
its own module, as `Options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.plugins import ALARMS, FORMATS, PROTECTIONS, PluginKind
from finetop.core.protocol.check_result import MARGIN
from finetop.core.recipe.columns import Columns, Labels

VERSION = 1

Count = Annotated[int, Meta(ge=1, le=10**9)]
Positive = Annotated[float, Meta(gt=0)]
Pace = Annotated[int, Meta(ge=1, le=10**9)] | Annotated[float, Meta(gt=0, le=1)]
PathText = Annotated[str, Meta(min_length=1, max_length=4096)]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Attention = Literal["auto", "sdpa", "flash_attention_2", "flex", "eager"]
EngineChoice = Literal["auto", "exact", "continuous", "vllm"]
Metric = Literal["nats_per_token", "exact_match", "token_f1", "rules"]
LongText = Annotated[str, Meta(min_length=1, max_length=20_000)]


def says(text: str) -> Meta:
    """Describe a setting in one line, for the launcher and `finetop methods`."""
    return Meta(description=text)


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def a_file(text: str) -> Meta:
    """Describe a setting that is a file path: relative to the recipe's folder, or `builtin:NAME`."""
    return Meta(description=text, extra={"path": "file"})


def an_id(text: str) -> Meta:
    """Describe a setting that is a hub id, or a local folder if it starts with `./`, `../`, `/` or `~`."""
    return Meta(description=text, extra={"path": "id"})


def one_choice(text: str) -> Meta:
    """Describe a section that is one choice: written anew it replaces the old one whole, and does not merge with it."""
    return Meta(description=text, extra={"merges": False})


def merged(text: str) -> Meta:
    """Describe a mapping that merges with the one that it is laid over, though its keys are no settings of ours."""
    return Meta(description=text, extra={"merges": True})


def belongs_to(setting: str) -> Meta:
    """Mark a setting that is dropped when the value of another one beside it changes."""
    return Meta(extra={"belongs_to": setting})


def instead_of(setting: str) -> Meta:
    """Mark one of two alternatives: whichever is written drops the other that it is laid over."""
    return Meta(extra={"instead_of": setting})


def yields_to(setting: str) -> Meta:
    """Mark a setting that is dropped when another one beside it, which it would overrule, is laid over it."""
    return Meta(extra={"yields_to": setting})


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of a recipe: frozen, all settings by name, unknown ones refused."""


class Model(Section, frozen=True, kw_only=True):
    """Which model is tuned."""

    id: Annotated[
        Text,
        an_id(
            "Hub id, a local folder (starts with ./, ../, / or ~), or run:NAME[@STEP]; in a chain stage:NAME."
        ),
    ] = "smollm2-135m-instruct"
    dtype: Annotated[
        Literal["auto", "saved", "bfloat16", "float16", "float32"],
        says(
            "Number format of the weights; auto: bfloat16, float16 on a GPU without it, float32 on a CPU where that is "
            "faster; saved: as saved."
        ),
    ] = "auto"
    quantize: Annotated[
        Literal["none", "nf4", "int8"],
        says("Hold the linear layers' weights in fewer bits; nf4 takes a quarter of bfloat16's memory."),
    ] = "none"
    attention: Annotated[
        Attention,
        says("Attention in training; auto is sdpa, for packed rows on a GPU flash_attention_2 or flex."),
    ] = "auto"
    engine: Annotated[
        EngineChoice,
        says(
            "What writes answers in checks, samples, grpo and rloo; auto: exact, or continuous with flash-attn."
        ),
    ] = "auto"
    revision: Annotated[
        Text | None, says("Branch, tag or commit on the hub; null for the newest."), belongs_to("id")
    ] = None
    trust_remote_code: Annotated[
        bool, says("Run Python code that comes with the model. Off unless you have read that code.")
    ] = False
    chat_template: Annotated[
        PathText | None, a_file("A Jinja file in place of the model's own template.")
    ] = None


class Method(Section, frozen=True, kw_only=True):
    """Which weights move, and the method's own settings (finetop methods)."""

    name: Annotated[str, says("Which weights move.")] = "lora"
    options: Any = None


class Objective(Section, frozen=True, kw_only=True):
    """What they learn from, and the objective's own settings."""

    name: Annotated[str, says("What the weights learn from.")] = "sft"
    options: Any = None


class Source(Section, frozen=True, kw_only=True):
    """Rows of one data set: a local file (`path`) or a data set of the hub or a local folder (`id`)."""

    path: Annotated[
        PathText | None,
        a_file(
            "File of rows (.jsonl, .json, .csv, .tsv, .parquet, .txt, .md; .gz too), folder of one type, or data/*.csv."
        ),
    ] = None
    id: Annotated[
        Text | None,
        an_id("A data set on the hub, or its local folder (starts with ./, ../, / or ~)."),
        instead_of("path"),
    ] = None
    split: Annotated[Text | None, says("Split of a data set given by id; null is train.")] = None
    subset: Annotated[Text | None, says("Configuration of a data set given by id.")] = None
    format: Annotated[
        Text,
        says(f"Shape of the rows: {_or(FORMATS.names())}; auto: the first row decides (docs/formats.md)."),
    ] = "auto"
    columns: Columns = {}
    labels: Labels = {}
    rows: Annotated[Count | None, says("Use at most this many rows; null for all.")] = None
    share: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        says(
            "Part of all training rows that come from here: 0.3 is 3 in 10. One source must have null: all its rows."
        ),
    ] = None
    role: Annotated[
        Literal["train", "replay"], says("replay marks general rows that are there against forgetting.")
    ] = "train"


class EvalShare(Section, frozen=True, kw_only=True):
    """Rows set aside from the training data."""

    share: Annotated[
        float,
        Meta(ge=0, le=0.5),
        says("Share of the training rows set aside (0 to 0.5); 0 for no evaluation."),
    ] = 0.1


class Data(Section, frozen=True, kw_only=True):
    """What is learned and what is held back."""

    train: Annotated[tuple[Source, ...], says("The training rows: a list of sources.")] = ()
    eval: Annotated[
        tuple[Source, ...] | EvalShare,
        says("Rows for the evaluation loss: a list of sources, or {share: 0.1}."),
    ] = EvalShare()
    max_tokens: Annotated[
        int,
        Meta(ge=8, le=10**7),
        says(
            "Longest row, in tokens: prompt, what ask adds to it, and answer; the prompt alone in grpo, rloo and ppo."
        ),
    ] = 1024
    on_long: Annotated[
        str,
        Meta(pattern=r"^(truncate|drop|error-over-[1-9]?[0-9]%)$"),
        says("Longer rows: truncate, drop, or error-over-N% (drop, and refuse if over N % are too long)."),
    ] = "error-over-5%"


class Ask(Section, frozen=True, kw_only=True):
    """What is put before a row's own prompt, in training and in every score."""

    system: Annotated[
        LongText | None,
        says("A system turn before each row's prompt; joined to the row's own, if it has one."),
    ] = None
    shots: Annotated[
        int, Meta(ge=0, le=64), says("Examples from data.train before the question; training rows get none.")
    ] = 0
    pick: Annotated[
        Literal["fixed", "nearest"],
        says("The same examples for every question, or those whose question is most like it (BM25)."),
    ] = "fixed"
    documents: Annotated[
        tuple[Annotated[PathText, a_file("A file or folder of texts: .txt, .md, .jsonl with `text` …")], ...],
        says("Texts to retrieve from: the passages that fit a question best are put before it."),
    ] = ()
    top_k: Annotated[
        int, Meta(ge=1, le=64), says("Passages of the documents that stand before a question.")
    ] = 3
    chunk_words: Annotated[int, Meta(ge=10, le=10_000), says("Words of a passage, at most.")] = 150
    overlap_words: Annotated[
        int, Meta(ge=0, le=1_000), says("Words that a passage shares with the one before it.")
    ] = 20
    search: Annotated[
        Literal["bm25", "dense"], says("Find passages by their words, or by vectors of a static model.")
    ] = "bm25"
    embedder: Annotated[Text | None, an_id("The model that makes the vectors; null for the usual one.")] = (
        None
    )


class StopEarly(Section, frozen=True, kw_only=True):
    """When training ends before its length: once a metric has stopped improving."""

    metric: Annotated[
        Literal["eval_loss", "target", "reward"],
        says("The evaluation loss, the target's first metric (at checks on the way), or the eval reward."),
    ] = "eval_loss"
    patience: Annotated[Count, says("Stop after so many evaluations in a row without an improvement.")] = 3
    min_delta: Annotated[
        float, Meta(ge=0, le=10**9), says("What counts as one: more than this, in the metric's own unit.")
    ] = 0.0


class Train(Section, frozen=True, kw_only=True):
    """How long, how fast. A step is one optimizer step."""

    epochs: Annotated[
        Annotated[float, Meta(gt=0, le=10_000)] | None,
        says("Passes over the training rows; max_steps wins where both are written."),
    ] = 2.0
    max_steps: Annotated[
        Count | None,
        says("Stop after exactly this many steps, however many epochs that is; null: epochs decides."),
        yields_to("epochs"),
    ] = None
    batch_size: Annotated[
        Count, says("Rows a device holds at once; pairs for dpo, answers for grpo, rloo and ppo.")
    ] = 4
    eval_batch_size: Annotated[Count | None, says("The same in evaluation; null for batch_size.")] = None
    grad_accumulation: Annotated[Count, says("Batches added up for one step: same result, less memory.")] = 4
    learning_rate: Annotated[
        float, Meta(gt=0, le=1), says("Size of a step at its peak. Usual: 2e-4 for LoRA, 2e-5 for full.")
    ] = 2e-5
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], says("How the learning rate falls after the warm-up.")
    ] = "cosine"
    warmup_steps: Annotated[
        Annotated[int, Meta(ge=0, le=10**9)] | Annotated[float, Meta(ge=0, lt=1)],
        says("Steps (2) or share of the run (0.03) in which the learning rate rises."),
    ] = 0.03
    optimizer: Annotated[
        Literal["adamw", "adafactor", "sgd", "adamw-8bit", "paged-adamw-8bit"],
        says("What turns gradients into steps. In 8 bits it takes a quarter of the memory, on a GPU."),
    ] = "adamw"
    master: Annotated[
        Literal["auto", "float32", "stochastic", "nearest"],
        says("How 16-bit weights of full tuning are held: float32 where it fits, or rounded by chance."),
    ] = "auto"
    weight_decay: Annotated[float, Meta(ge=0, le=1), says("Pull of the trained weights towards zero.")] = 0.0
    activation_checkpointing: Annotated[
        bool,
        says("Compute activations again in the backward pass: far less memory, about a third slower."),
    ] = False
    kernels: Annotated[
        Literal["none", "liger"], says("liger: fused norms and activations, where liger-kernel is installed.")
    ] = "none"
    compile: Annotated[bool, says("Compile the model with torch.compile: minutes at first, then faster.")] = (
        False
    )
    max_grad_norm: Annotated[Positive, says("Longer gradients are scaled down to this length.")] = 1.0
    stop_on_nan: Annotated[
        Count | None,
        says("Stop after N steps in a row whose loss or gradient is NaN or infinite; null for never."),
    ] = 10
    seed: Annotated[int, Meta(ge=0, lt=2**32), says("Start of all random numbers of the run.")] = 1
    eval_every: Annotated[Pace, says("Evaluate every N steps (50) or share of the run (0.25).")] = 0.25
    save_every: Annotated[Pace, says("Write a checkpoint every N steps (50) or share of the run (0.25).")] = (
        0.25
    )
    keep_checkpoints: Annotated[Count | None, says("Keep the newest N checkpoints; null for all.")] = 4
    keep: Annotated[
        Literal["newest", "best"],
        says("Which checkpoint is the run's result: the newest, or the best by stop_early.metric."),
    ] = "newest"
    stop_early: Annotated[
        StopEarly | None, says("Stop once it has stopped improving; null for the whole length.")
    ] = None
    resumable: Annotated[
        bool,
        says("Keep the optimizer's numbers in checkpoints: `finetop resume` needs them, disk space too."),
    ] = True
    try_worst_batch: Annotated[
        bool | Literal["auto"],
        says("Try a step on the longest rows before the first, and undo it; auto: where there is a GPU."),
    ] = "auto"
    parallel: Annotated[
        Literal["auto", "ddp", "fsdp"],
        says("On several GPUs: a copy on each (ddp) or weights divided (fsdp); auto: divided if all move."),
    ] = "auto"


class Samples(Section, frozen=True, kw_only=True):
    """Answers written at each evaluation, to read."""

    prompts: Annotated[
        tuple[Text, ...], says("What to ask; with none, prompts of the evaluation rows are used.")
    ] = ()
    count: Annotated[int, Meta(ge=0, le=100), says("How many answers at a time; 0 for none.")] = 3
    max_new_tokens: Annotated[int, Meta(ge=1, le=10**5), says("Longest answer, in tokens.")] = 64


class Rule(Section, frozen=True, kw_only=True):
    """What an answer must be like; every rule must hold. The rules are those of suites: core/recipe/answer_rules.py."""

    rule: Annotated[
        Text,
        says(
            "Name of a rule: regex, starts_with, contains, max_words, json_object …; all of them: docs/rules.md."
        ),
    ]
    value: Annotated[
        Any,
        says(
            "The rule's value: contains takes a text, max_words a count, regex a pattern; one_word has none."
        ),
    ] = None


class Target(Section, frozen=True, kw_only=True):
    """What the tuned model should be better at."""

    path: Annotated[
        PathText,
        a_file("Rows that are not trained on, with answers, or texts: a file, a folder or data/*.csv."),
    ]
    columns: Columns = {}
    labels: Labels = {}
    metric: Annotated[
        Metric | tuple[Metric, ...],
        says("nats_per_token, exact_match, token_f1 or rules; one, or a list. Texts: nats_per_token."),
    ] = "nats_per_token"
    rules: Annotated[tuple[Rule, ...], says("For the metric rules: what every answer must be like.")] = ()
    written: Annotated[
        Count | None, says("Rows that are answered in writing; null for 200, or 24 on a CPU.")
    ] = None
    max_new_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=10**5)] | None,
        says("Longest answer, in tokens; null for the longest right one and 16 more, at most 256."),
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

    suite: Annotated[
        Text, an_id("Name of the suite of tasks, or its file (starts with ./, ../, / or ~).")
    ] = "quick"
    margin: Annotated[
        float, Meta(gt=0, le=100), says("The drop that counts as forgetting, in points of 100.")
    ] = MARGIN
    alpha: Annotated[float, Meta(gt=0, lt=0.5), says("Highest probability of a wrong verdict.")] = 0.05
    seed: Annotated[int, Meta(ge=0, lt=2**32), says("Order in which items are drawn.")] = 1


class Check(Section, frozen=True, kw_only=True):
    """Did it learn, and did it forget?"""

    at_end: Annotated[bool, says("Check the tuned model when training ends.")] = True
    every: Annotated[
        Pace | None,
        says(
            "Check while it trains, every N steps (50) or share of the run (0.25); null for only at the end."
        ),
    ] = None
    on_fail: Annotated[
        Literal["flag", "stop", "keep-best"],
        says("If it REGRESSED on the way: flag it, stop, or go on and keep the best checkpoint that is OK."),
    ] = "flag"
    target: Annotated[Target | None, one_choice("What it should be better at.")] = None
    general: Annotated[
        General | None,
        says("What it must not have forgotten; null turns the check off (leave out every and on_fail then)."),
    ] = General()


class Drift(Section, frozen=True, kw_only=True):
    """Early alarm: the loss on general text against the base model."""

    every: Annotated[
        Pace | None, says("Measure every N steps (50) or share of the run (0.1); null for never.")
    ] = 0.1
    limit: Annotated[Positive, says("Alarm when the loss rose by this much, in nats/token.")] = 0.1


class Update(Section, frozen=True, kw_only=True):
    """New facts that arrive once everything is set up: what is theirs in documents, rows and questions."""

    documents: Annotated[
        tuple[Annotated[PathText, a_file("A file or folder of texts.")], ...],
        says("Documents with the new facts, for the approaches that retrieve."),
    ] = ()
    train: Annotated[
        tuple[Source, ...], says("Training rows with the new facts, for the approaches that train.")
    ] = ()
    test: Annotated[PathText, a_file("Questions about the new facts, in rows like those of check.target.")]


class Comparison(Section, frozen=True, kw_only=True):
    """Prompt, few-shot, retrieval and training side by side."""

    only: Annotated[
        tuple[Text, ...], says("Compare these approaches alone; with none, all that the recipe allows.")
    ] = ()
    metric: Annotated[
        Metric | None, says("What they are compared by; null for the first of check.target.metric.")
    ] = None
    seeds: Annotated[
        int, Meta(ge=1, le=50), says("Runs of each approach that trains, each with its seed.")
    ] = 1
    settings: Annotated[
        dict[str, dict[str, Any]],
        says("Settings of one approach alone: {full: {train.learning_rate: 1e-5}}."),
    ] = {}
    update: Annotated[
        Update | None, one_choice("New facts that arrive afterwards; null to leave that out.")
    ] = None


class Budget(Section, frozen=True, kw_only=True):
    """What the run may use."""

    gpus: Annotated[
        Annotated[int, Meta(ge=0, le=1024)] | None,
        says("GPUs, on which it trains side by side; null is one if the machine has any, else none."),
    ] = None
    nodes: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        says("Nodes of a cluster that share the GPUs evenly; null is one. More need slurm in settings.yaml."),
    ] = None
    memory_gib: Annotated[Positive | None, says("Memory per GPU that may be used, in GiB; null for all.")] = (
        None
    )
    hours: Annotated[
        Positive | None,
        says("Stop with a checkpoint after so long of training, over all resumes; null for no limit."),
    ] = None
    tokens: Annotated[
        Annotated[int, Meta(ge=1, lt=2**53)] | None,
        says("Stop with a checkpoint after so many tokens, at the end of that step; null for no limit."),
    ] = None


def _of_folder(name: str, plugins: PluginKind[Any], about: str) -> type[msgspec.Struct]:
    """Make a section with a setting for each file of a folder: that file's Options."""
    return msgspec.defstruct(
        name,
        [(key, plugins.load(key).Options, plugins.load(key).Options()) for key in plugins.names()],
        bases=(Section,),
        namespace={"__doc__": about},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


if TYPE_CHECKING:

    class Alarms(Section, frozen=True, kw_only=True):
        """What is watched while it trains: a section for each alarm (docs/alarms.md), on by default."""

    class Protect(Section, frozen=True, kw_only=True):
        """What holds the model to its base: a section for each protection (docs/methods.md), off by default."""

else:
    Alarms = _of_folder("Alarms", ALARMS, "What is watched while it trains: a section for each alarm.")
    Protect = _of_folder(
        "Protect",
        PROTECTIONS,
        "What holds the model to its base: a section for each protection.",
    )


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe with all its defaults filled in."""

    recipe: Annotated[Literal[1], says("Version of the recipe format; every recipe says recipe: 1.")] = 1
    name: Annotated[str, says("Name of the run: letters, digits, . _ -; default: the file's.")]
    about: Annotated[
        Annotated[str, Meta(max_length=1000)], Meta(description="One line: what this run is for.")
    ] = ""
    extends: Annotated[
        Text | None, Meta(description="A built-in recipe, or the path of one, to start from.")
    ] = None
    model: Model = Model()
    method: Method
    objective: Objective
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
        dict[str, Any],
        merged("Options of the trainer's own class, such as TRL's SFTConfig."),
    ] = {}
