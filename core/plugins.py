"""What a file has to have to be a method, an objective, a remedy …, and how the files of a folder are found by name.

No registry to edit: the folder is the list, and a room that needs plug-ins of a room above it asks here, by name, so
that it imports nothing upwards. Heavy imports of a plug-in stay inside its functions: listing never imports torch.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from finetop.core.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import msgspec

Kind = TypeVar("Kind")
Options = TypeVar("Options", bound="msgspec.Struct")


class Plugin(ABC):
    """What each of them has. A kind adds its hooks, each with a default where it need not be there."""

    name: str  # of its file or row; set when it is loaded
    about: str  # one line: what it does, and what for


class Configured(Plugin, Generic[Options]):
    """What has settings of its own in a recipe."""

    options: type[Options]  # a frozen struct of its settings, each with a default


class FormatFacts(Plugin):
    """What rooms below data ask of a format."""

    keys: tuple[str, ...]  # that a row of this shape may have


class RemedyFacts(Plugin):
    """What rooms below remedies ask of one."""

    def change(self, candidate: Any, base: Any, checkpoint: Any) -> Any:
        """Return what makes a candidate of a loaded checkpoint; None for another checkpoint as it is."""
        return None


@dataclass(frozen=True, slots=True)
class PluginKind(Generic[Kind]):
    """A kind of plug-in: the package whose modules are its plug-ins, and what people call one."""

    word: str
    package: str
    joined_by: str = "-"  # lora_plus.py is lora-plus where people write names; a key of a recipe keeps its _
    table: str = ""  # a module whose ROWS are plug-ins too
    base: type[Any] = object  # the class of their instances

    def names(self) -> tuple[str, ...]:
        """List the plug-ins there are, without importing them."""
        return tuple(sorted({*self.files(), *self._rows()}))

    def files(self) -> tuple[str, ...]:
        """List those that are a file of their own."""
        from pkgutil import iter_modules

        modules = [module.name for module in iter_modules(import_module(self.package).__path__)]
        return tuple(sorted(name.replace("_", self.joined_by) for name in modules if name[0] != "_"))

    def load(self, name: str) -> Kind:
        """Import a plug-in by its name; only what is listed is ever imported. Raises NotFound with a suggestion."""
        return cast("Kind", _load(self, name.replace("-", "_") if self.joined_by == "_" else name))

    def of(self, base: type[Any]) -> PluginKind[Any]:
        """Return the same kind for a room that knows more of the class of its plug-ins."""
        return replace(cast("PluginKind[Any]", self), base=base)

    def _rows(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", import_module(self.table).ROWS) if self.table else {}


@cache
def _load(kind: PluginKind[Any], name: str) -> Any:
    """Find a plug-in, listing the folder once for each name: a format is asked for with every row."""
    plugin = kind._rows().get(name)
    if plugin is None:
        if name not in kind.files():
            raise NotFound(f"there is no {kind.word} {name[:60]!r}.", hint=did_you_mean(name[:60], kind.names()))
        module = import_module(f"{kind.package}.{name.replace('-', '_')}")
        plugin = vars(module).get("PLUGIN", module)
    if not isinstance(plugin, kind.base):
        raise TypeError(f"{kind.word} {name}: PLUGIN is no {kind.base.__name__}")
    if isinstance(plugin, Plugin):
        plugin.name = name
    return plugin


class Described(Protocol):
    """What each of them has."""

    @property
    def ABOUT(self) -> str:
        """One line: what it does, and what for."""


class Settable(Described, Protocol):
    """What has settings of its own in a recipe."""

    @property
    def Options(self) -> type[msgspec.Struct]:
        """A frozen struct of its settings, each with a default."""


class Method(Settable, Protocol):
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


class Objective(Settable, Protocol):
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


class Protection(Settable, Protocol):
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


class Alarm(Settable, Protocol):
    """What looks at the numbers of a run; a setting of `alarms:` is the name of a file.

    `on` of its options turns it on or off; `spike: false` is short for it.
    """

    @property
    def watch(self) -> Callable[[Any, Any], Any]:
        """Make what looks at the numbers of a run, of options and the run; None where they say nothing of the kind.

        A watch (train/alarms) knows what it is fed, step by step, and no clock, no file and no library of training. It
        speaks once when something begins, and once when it is over; in between it is silent.
        """


FORMATS: PluginKind[FormatFacts] = PluginKind("format", "finetop.core.data.formats")
METHODS: PluginKind[Method] = PluginKind(
    "method", "finetop.core.train.methods", table="finetop.core.train.methods._table"
)
OBJECTIVES: PluginKind[Objective] = PluginKind("objective", "finetop.core.train.objectives")
PROTECTIONS: PluginKind[Protection] = PluginKind("protection", "finetop.core.train.protections", "_")
ALARMS: PluginKind[Alarm] = PluginKind("alarm", "finetop.core.train.alarms", "_")
REWARD_RULES: PluginKind[Plugin] = PluginKind("rule", "finetop.core.train.rewards", "_")
REMEDIES: PluginKind[RemedyFacts] = PluginKind("remedy", "finetop.core.remedies")
APPROACHES: PluginKind[Plugin] = PluginKind("approach", "finetop.core.approaches")


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
