"""What a file has to have to be a method, an objective, a remedy …, and how the files of a folder are found by name.

No registry to edit: the folder is the list, and a room that needs plug-ins of a room above it asks here, by name, so
that it imports nothing upwards. Heavy imports of a plug-in stay inside its functions: listing never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from finetop.core.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import msgspec

Plugin = TypeVar("Plugin")


@dataclass(frozen=True, slots=True)
class PluginKind(Generic[Plugin]):
    """A kind of plug-in: the package whose modules are its plug-ins, and what people call one."""

    word: str
    package: str
    joined_by: str = "-"  # lora_plus.py is lora-plus where people write names; a key of a recipe keeps its _
    table: str = ""  # a module whose ROWS are plug-ins too

    def names(self) -> tuple[str, ...]:
        """List the plug-ins there are, without importing them."""
        return tuple(sorted({*self.files(), *self.rows()}))

    def files(self) -> tuple[str, ...]:
        """List those that are a file of their own."""
        from pkgutil import iter_modules

        modules = [module.name for module in iter_modules(import_module(self.package).__path__)]
        return tuple(sorted(name.replace("_", self.joined_by) for name in modules if name[0] != "_"))

    def load(self, name: str) -> Plugin:
        """Import a plug-in by its name; only what is listed is ever imported. Raises NotFound with a suggestion."""
        return cast("Plugin", _load(self, name.replace("-", "_") if self.joined_by == "_" else name))

    def rows(self) -> Mapping[str, Any]:
        """Return the plug-ins that are rows of the table."""
        return cast("Mapping[str, Any]", import_module(self.table).ROWS) if self.table else {}


@cache
def _load(kind: PluginKind[Any], name: str) -> Any:
    """Find a plug-in, listing the folder once for each name: a format is asked for with every row."""
    if name in (rows := kind.rows()):
        return rows[name]
    if name not in kind.files():
        raise NotFound(f"there is no {kind.word} {name[:60]!r}.", hint=did_you_mean(name[:60], kind.names()))
    return import_module(f"{kind.package}.{name.replace('-', '_')}")


class Described(Protocol):
    """What each of them has."""

    @property
    def ABOUT(self) -> str:
        """One line: what it does, and what for."""


class Configured(Described, Protocol):
    """What has settings of its own in a recipe."""

    @property
    def Options(self) -> type[msgspec.Struct]:
        """A frozen struct of its settings, each with a default."""


class Format(Described, Protocol):
    """A shape that rows of data come in."""

    @property
    def KIND(self) -> Any:
        """What its rows are: one of finetop.core.data.formats.Kind."""

    @property
    def KEYS(self) -> tuple[str, ...]:
        """The keys that a row of this shape may have."""

    @property
    def matches(self) -> Callable[[Mapping[str, Any]], bool]:
        """Tell a row of this shape."""

    @property
    def read(self) -> Callable[[Mapping[str, Any], str], Any]:
        """Make a record of a row at a place. Raises BadData that names the place, the key and the fix."""


class FileType(Described, Protocol):
    """A type of file that holds rows.

    It may have `count(file, name)`: how many rows an open file says that it has, where it does.
    """

    @property
    def ENDINGS(self) -> tuple[str, ...]:
        """How names of such files end, in small letters; each may have .gz behind it."""

    @property
    def rows(self) -> Callable[[Any, str], Any]:
        """Yield the rows of an open binary file with this name, each with its line or number.

        What is wrong with one row alone is yielded in its place, as BadData; what is wrong with the file is raised.
        """


class Method(Configured, Protocol):
    """Which weights move: a file, or a row of the table where PEFT's class alone differs.

    It may have
    - `optimizer(model, options, arguments)`: a torch optimizer in place of the trainer's,
    - `callbacks(options)`: callbacks of transformers,
    - `merges(options)`: MERGES, where that depends on its settings,
    - `require(model, options)`: see that the settings fit a model without weights; raises BadInput,
    - `spelled`: PEFT's names of its settings, `NOT_QUANTIZED`: why not all of model.quantize,
    - `REFUSES`: settings of a recipe that it does not go with when they are on, by dotted key, and why.
    """

    @property
    def QUANTIZED(self) -> tuple[Any, ...]:
        """Which of model.quantize it can train on."""

    @property
    def KEEPS_BASE(self) -> bool:
        """Whether the base is in memory still when the adapter is off; full and freeze have no adapter."""

    @property
    def MERGES(self) -> bool:
        """Whether what it learned can be added into the base's weights."""

    @property
    def prepare(self) -> Callable[[Any, Any, Any], Any]:
        """Return the model with the right weights trainable, of model, options and finetop's `Start`.

        Raises BadInput for an option that does not fit it.
        """


class Objective(Configured, Protocol):
    """The training objective.

    It may have
    - `limits(recipe)`: what it can't do, as (key, message, hint), found before anything is loaded,
    - `load_model(options, base, tokenizer, dtype, device)`: another model than the causal one that the recipe names,
    - `make_tokenizer(options, base, rows)`: another tokenizer than the base's,
    - `light_tokenizer(options, tokenizer, rows, most)`: the same for a plan, of one without the training stack, trained
      on `most` characters at most; None where that can't be,
    - `require_rows(recipe, rows)`: see that there are enough rows to learn from; raises BadInput,
    - `copies(options)`: how often each example counts in a step's batch, where a trainer repeats them,
    - `WRITES = False`: the model it makes writes no text, so that nothing is sampled, probed or checked,
    - `CONFIG`: the class of its trainer's arguments, where it is not trl.SFTConfig; `OWN`: those that are its settings,
    - `COMPARES = False`: it makes a new model, which has nothing to forget,
    - `LOSS_FALLS = False`: its loss does not say how well it learns, and no alarm looks at it.
    """

    @property
    def ROWS(self) -> Sequence[Any]:
        """The kinds of rows that it reads (finetop.core.data.formats), the one it likes best first."""

    @property
    def METRICS(self) -> Mapping[str, str]:
        """What its trainer calls its own metrics, and what we call them."""

    @property
    def examples(self) -> Callable[[Sequence[Any], Any, Any, int], list[list[Any]]]:
        """Make the examples of each row, of rows, options, tokenizer and max_tokens."""

    @property
    def make_trainer(self) -> Callable[[Any], Any]:
        """Make a transformers Trainer of a Setup, or what has its train, model, state, args and train_dataset."""


class Protection(Configured, Protocol):
    """What holds a model to what it knew while it trains; a setting of `protect:` is the name of a file.

    Its options leave it out by default. It may have
    - `is_on(options)`: whether the options turn it on, where SHORT alone does not say so,
    - `NEEDS_TEXT = True`: it reads what the model says of text, so that it goes with no model that writes none,
    - `STEPS = True`: it acts at the trainer's steps, so that it needs a trainer of transformers,
    - `limits(recipe, options)`: what it can't do, as (key, message, hint), found before anything is loaded,
    - `paths(options)`: files that it reads, as (key, path); `sources(options)`: rows mixed into the training data,
    - `require(config, options)`: see that it fits the model's config.json; raises BadInput,
    - `rows(options, base, train)`: the examples to train on, made while the base is in memory, before the method is,
    - `look(options, home)`: read its files that are no training rows, before anything is queued; raises BadInput,
    - `written(options, recipe, rows)`: how many rows it adds so to others, and the tokens of each at most,
    - `hold(options, model)`: weights that are not to move, once the method has chosen which do,
    - `begin(options, setup, trainer)`: what acts in each step (finetop.core.train.protections._step.Acting),
    - `memory(options, sizes)`: bytes that it holds.
    """

    @property
    def SHORT(self) -> str | None:
        """Which option a bare value sets and turns it on (`kl_to_base: 0.5`); None if there is none."""


class Alarm(Configured, Protocol):
    """What looks at the numbers of a run; a setting of `alarms:` is the name of a file.

    `on` of its options turns it on or off; `spike: false` is short for it.
    """

    @property
    def watch(self) -> Callable[[Any, Any], Any]:
        """Make what looks at the numbers of a run, of options and the run; None where they say nothing of the kind.

        A watch (train/alarms) knows what it is fed, step by step, and no clock, no file and no library of training. It
        speaks once when something begins, and once when it is over; in between it is silent.
        """


class RewardRule(Described, Protocol):
    """A verifiable reward: what an answer earns by a rule. A rule is data; no recipe brings code."""

    @property
    def TAKES(self) -> Any:
        """The kind of `value` that it takes, as in core/recipe/answer_rules.py."""

    @property
    def NEEDS_ANSWER(self) -> bool:
        """Whether the row must say the right answer."""

    @property
    def score(self) -> Callable[[str, Any, str | None], float]:
        """Score a text, from 0 to 1, of text, value and answer."""


class Remedy(Described, Protocol):
    """What fixes a model that forgot, without training it.

    `change(candidate, base, checkpoint)` makes a candidate of a loaded checkpoint; one that is another checkpoint as it
    is needs none.
    """

    @property
    def COST(self) -> str:
        """What it takes, beside scoring what comes out."""

    @property
    def MOST(self) -> int:
        """How many candidates it has at most; their sum over all remedies is what the error is split by."""

    @property
    def candidates(self) -> Callable[[Any], list[Any]]:
        """List those that there are of a run's checkpoint, each with its settings, or why it can't be had."""


class Retraining(Described, Protocol):
    """A remedy that trains again."""

    @property
    def settings(self) -> Callable[[Mapping[str, Any]], Mapping[str, Any] | str]:
        """Return what is changed of a run's recipe, or why that can't be."""


class Approach(Described, Protocol):
    """A way to do a task, beside others: prompt, examples, retrieval, training."""

    @property
    def TRAINS(self) -> bool:
        """Whether weights move; without, its run is the measuring itself."""

    @property
    def UPDATES(self) -> str:
        """How it takes new facts in: "index" (anew, in seconds), "train" (a run of its own), or "" (it can't)."""

    @property
    def settings(self) -> Callable[[Any], Mapping[str, Any] | str]:
        """Return what is laid over the recipe, by dotted key, or why it can't be had of it."""


FORMATS: PluginKind[Format] = PluginKind("format", "finetop.core.data.formats")
FILE_TYPES: PluginKind[FileType] = PluginKind("file type", "finetop.core.data.files")
METHODS: PluginKind[Method] = PluginKind(
    "method", "finetop.core.train.methods", table="finetop.core.train.methods._table"
)
OBJECTIVES: PluginKind[Objective] = PluginKind("objective", "finetop.core.train.objectives")
PROTECTIONS: PluginKind[Protection] = PluginKind("protection", "finetop.core.train.protections", "_")
ALARMS: PluginKind[Alarm] = PluginKind("alarm", "finetop.core.train.alarms", "_")
REWARD_RULES: PluginKind[RewardRule] = PluginKind("rule", "finetop.core.train.rewards", "_")
REMEDIES: PluginKind[Remedy] = PluginKind("remedy", "finetop.core.remedies")
APPROACHES: PluginKind[Approach] = PluginKind("approach", "finetop.core.approaches")


def is_checkable(objective: str) -> bool:
    """Return whether a run of this objective makes a model that writes, and has a base to be checked against."""
    return writes_text(objective) and has_base(objective)


def writes_text(objective: str) -> bool:
    """Return whether a run of this objective makes a model that writes text."""
    return _says(objective, "WRITES")


def has_base(objective: str) -> bool:
    """Return whether what a run of this objective makes is compared with a base."""
    return _says(objective, "COMPARES")


def _says(objective: str, what: str) -> bool:
    """Return what the file of an objective says of it; of one that has none (imported) all holds."""
    return objective not in OBJECTIVES.names() or bool(getattr(OBJECTIVES.load(objective), what, True))
