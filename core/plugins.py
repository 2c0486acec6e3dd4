"""The interfaces of plug-ins (methods, objectives, remedies …), and how a folder's files are found by name.

No registry to edit: the folder is the list, and a room that needs plug-ins of a room above it gets them here, by name,
so that it imports nothing upwards. Heavy imports stay inside a plug-in's functions: listing never imports torch.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from finetop.core.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

    import msgspec

Kind = TypeVar("Kind")
Options = TypeVar("Options", bound="msgspec.Struct")


class Plugin(ABC):
    """What each of them has. A kind adds its hooks, each with a default where it need not be there."""

    name: str  # of its file or row; set when it is loaded
    about: str  # one line: what it does, and what for


class Configured(Plugin, Generic[Options]):
    """A plug-in with its own settings in a recipe."""

    options: type[Options]  # a frozen struct of its settings, each with a default


class FormatFacts(Plugin):
    """What rooms below data ask of a format."""

    keys: tuple[str, ...]  # that a row of this shape may have


class RemedyFacts(Plugin):
    """What rooms below remedies ask of one."""

    def change(self, candidate: Any, base: Any, checkpoint: Any) -> Any:
        """Return what makes a candidate of a loaded checkpoint; None for another checkpoint as it is."""
        return None


class MethodFacts(Configured[Options]):
    """What rooms below train ask of a method."""

    quantized: tuple[str, ...]  # which of model.quantize it can train on
    not_quantized = ""  # why not all of them
    keeps_base = True  # the base is in memory still when the adapter is off; full and freeze have no adapter
    can_merge = True  # its update can be merged into the base's weights
    any_size = False  # its settings fit layers of any size; else a rehearsal tells whether they fit a model's
    spelled: Mapping[str, str] = {}  # PEFT's names of its settings
    refuses: Mapping[str, str] = {}  # settings of a recipe that it does not go with when they are on, and why

    def merges(self, options: Options) -> bool:
        """Return whether it can be merged, where that depends on its settings."""
        return self.can_merge


class ObjectiveFacts(Configured[Options]):
    """What rooms below train ask of an objective."""

    rows: Sequence[Any]  # the kinds of rows that it reads (core/data/formats), the one it likes best first
    metrics: Mapping[str, str] = {}  # what its trainer calls its own metrics, and what we call them
    own: Mapping[str, str] = {}  # arguments of its trainer that are its settings
    writes = True  # the model it makes writes text: else nothing is sampled, probed or checked
    compares = True  # else it makes a new model, which has nothing to forget
    loss_falls = True  # else its loss does not say how well it learns, and no alarm looks at it

    def limits(self, recipe: Any) -> Iterable[tuple[str, str, str]]:
        """Find what it can't do, as (key, message, hint), before anything is loaded."""
        return ()

    def sizes(self, options: Options, hidden: int, heads: int, vocabulary: int) -> Mapping[str, int]:
        """Return the sizes of a new model, as its config.json has them, on a base of these; empty for the base's."""
        return {}

    def require_rows(self, recipe: Any, rows: int) -> None:
        """Require enough rows to learn from. Raises BadInput."""

    def copies(self, options: Options) -> int:
        """Return how often each example counts in a step's batch, where a trainer repeats them."""
        return 1

    def examples(
        self, rows: Sequence[Any], options: Options, tokenizer: Any, max_tokens: int
    ) -> list[list[Any]]:
        """Make the examples of each row. Raises BadInput."""
        raise NotImplementedError

    def light_tokenizer(self, options: Options, tokenizer: Any, rows: Any, most: int) -> Any:
        """Return the tokenizer that it trains with for a plan, of a LightTokenizer; None where that can't be.

        One made of the rows is trained on `most` characters at most.
        """
        return tokenizer


class WeightFormatFacts(Plugin):
    """What a recipe asks of a format of the base's weights."""

    bits = 0  # of a weight of a linear layer; 0: as many as model.dtype has
    shards = True  # it can be sharded over GPUs (fsdp)


@dataclass(frozen=True, slots=True)
class PluginKind(Generic[Kind]):
    """A kind of plug-in: the package whose modules are its plug-ins, and its name for users."""

    word: str
    package: str
    joined_by: str = "-"  # lora_plus.py is lora-plus for users; a recipe's key keeps its _
    table: str = ""  # a module whose ROWS are plug-ins too
    base: type[Any] = object  # the class of their instances

    def names(self) -> tuple[str, ...]:
        """List the plug-ins without importing them."""
        return tuple(sorted({*self.files(), *self.rows()}))

    def files(self) -> tuple[str, ...]:
        """List the plug-ins with a file of their own."""
        return _files(self.package, self.joined_by)

    def load(self, name: str) -> Kind:
        """Import a plug-in by name; only listed ones are ever imported. Raises NotFound with a suggestion."""
        return cast("Kind", _load(self, name.replace("-", "_") if self.joined_by == "_" else name))

    def of(self, base: type[Any]) -> PluginKind[Any]:
        """Return the same kind for a room that knows more of the class of its plug-ins."""
        return replace(cast("PluginKind[Any]", self), base=base)

    def rows(self) -> Mapping[str, Any]:
        """Return the plug-ins that are rows of the table."""
        return cast("Mapping[str, Any]", import_module(self.table).ROWS) if self.table else {}


@cache
def _files(package: str, joined_by: str) -> tuple[str, ...]:
    """List a folder's plug-ins, cached: screens ask what a run accepts for every row."""
    from pkgutil import iter_modules

    modules = [module.name for module in iter_modules(import_module(package).__path__)]
    return tuple(sorted(name.replace("_", joined_by) for name in modules if name[0] != "_"))


@cache
def _load(kind: PluginKind[Any], name: str) -> Any:
    """Load a plug-in, cached by name: a format is loaded for every row."""
    plugin = kind.rows().get(name)
    if plugin is None:
        if name not in kind.files():
            raise NotFound(
                f"there is no {kind.word} {name[:60]!r}.", hint=did_you_mean(name[:60], kind.names())
            )
        plugin = import_module(f"{kind.package}.{name.replace('-', '_')}").PLUGIN
    if not isinstance(plugin, kind.base):
        raise TypeError(f"{kind.word} {name}: PLUGIN is no {kind.base.__name__}")
    if isinstance(plugin, Plugin):
        plugin.name = name
    return plugin


WEIGHT_FORMATS: PluginKind[WeightFormatFacts] = PluginKind(
    "format of weights", "finetop.core.models.weight_formats", base=WeightFormatFacts
)
FORMATS: PluginKind[FormatFacts] = PluginKind("format", "finetop.core.data.formats")
METHODS: PluginKind[MethodFacts[Any]] = PluginKind(
    "method",
    "finetop.core.train.methods",
    table="finetop.core.train.methods._table",
    base=MethodFacts,
)
OBJECTIVES: PluginKind[ObjectiveFacts[Any]] = PluginKind(
    "objective", "finetop.core.train.objectives", base=ObjectiveFacts
)
PROTECTIONS: PluginKind[Configured[Any]] = PluginKind("protection", "finetop.core.train.protections", "_")
ALARMS: PluginKind[Configured[Any]] = PluginKind("alarm", "finetop.core.train.alarms", "_")
REWARD_RULES: PluginKind[Plugin] = PluginKind("rule", "finetop.core.train.rewards", "_")
METRIC_SOURCES: PluginKind[Plugin] = PluginKind("source of metrics", "finetop.core.external.sources", "_")
TRAINERS: PluginKind[Plugin] = PluginKind("trainer", "finetop.core.external.trainers")
REMEDIES: PluginKind[RemedyFacts] = PluginKind("remedy", "finetop.core.features.remedies.remedies")
APPROACHES: PluginKind[Plugin] = PluginKind("approach", "finetop.core.features.approaches.approaches")


FEATURES = "finetop.core.features"


def features() -> tuple[str, ...]:
    """List the features: the folder is the list."""
    return _files(FEATURES, "_")


def doors(name: str) -> tuple[ModuleType, ...]:
    """Import one door of each feature that has it, such as `requests`: how the kernel finds what it may not import."""
    having = [feature for feature in features() if name in _files(f"{FEATURES}.{feature}", "_")]
    return tuple(import_module(f"{FEATURES}.{feature}.{name}") for feature in having)


@cache
def entries(door: str, table: str) -> Mapping[Any, Any]:
    """Return one table of all features' doors as one: the requests' `ANSWERS`, what `sql` stores of `EVENTS` …"""
    return {key: value for module in doors(door) for key, value in vars(module).get(table, {}).items()}


def folders(name: str) -> tuple[str, ...]:
    """Return the packages of one folder of each feature that has it, such as `commands`."""
    having = [feature for feature in features() if name in _files(f"{FEATURES}.{feature}", "_")]
    return tuple(f"{FEATURES}.{feature}.{name}" for feature in having)


def keeps_base(method: str) -> bool:
    """Return whether a method's checkpoint is an adapter; of an unknown one (imported) a whole model is assumed."""
    return method in METHODS.names() and METHODS.load(method).keeps_base


def is_checkable(objective: str) -> bool:
    """Return whether a run of this objective makes a text-generating model with a base to check against."""
    return writes_text(objective) and has_base(objective)


def writes_text(objective: str) -> bool:
    """Return whether a run of this objective makes a model that writes text; of one of others (imported) it does."""
    return objective not in OBJECTIVES.names() or OBJECTIVES.load(objective).writes


def has_base(objective: str) -> bool:
    """Return whether the model of a run of this objective is compared with a base."""
    return objective not in OBJECTIVES.names() or OBJECTIVES.load(objective).compares
