"""Remedies for a model that forgot: a file each, which ends with its instance of Remedy or Retraining."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core import plugins
from finetop.core.errors import NotFound, did_you_mean
from finetop.core.features.remedies.messages import Candidate, RetrainingRow
from finetop.core.models.resolved import ResolvedModel
from finetop.core.plugins import PluginKind
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.train import methods

if TYPE_CHECKING:
    from finetop.core.check.model_pair import Change

# Methods whose adapter adds its scale times an update to the weights: another scale makes it stronger or weaker.
SCALED = ("adalora", "corda", "loftq", "lora", "lora-plus", "olora", "pissa", "rslora")


@dataclass(frozen=True)
class Subject:
    """What a remedy may know of a model before anything is loaded: facts of its run and checkpoint."""

    step: int
    is_adapter: bool
    merges: bool  # its update can be merged into the base's weights
    scales: bool  # its update is proportional to a scale
    quantize: str
    earlier: tuple[int, ...]  # steps of the saved checkpoints before it, ascending

    @property
    def no_weights(self) -> str:
        """Return why the weights can't be edited; empty if they can."""
        if self.is_adapter and not self.merges:
            return "its adapter adds tokens before the text and changes no weights"
        if self.quantize != "none":
            return f"its base is loaded in {self.quantize}, whose weights can't be rewritten one by one"
        return ""


class Remedy(plugins.RemedyFacts):
    """What fixes a model that forgot, without training it."""

    cost = ""  # what it takes, beside scoring what comes out
    most = 0  # candidates that it has at most; their sum over all remedies is what the error is split by

    def candidates(self, subject: Subject) -> list[Candidate]:
        """List its candidates for a run's checkpoint, each with its settings, or why it is not available."""
        return []

    def change(self, candidate: Candidate, base: ResolvedModel, checkpoint: Path) -> Change | None:
        """Return what makes a candidate of a loaded checkpoint; None for another checkpoint as it is."""
        return None


class Retraining(Remedy):
    """A remedy that trains again."""

    @abstractmethod
    def settings(self, recipe: Mapping[str, Any]) -> Mapping[str, Any] | str:
        """Return the changes of a run's recipe, or why that is not possible."""


BY_COMMAND = "its own program trains it: change its command"
KIND: PluginKind[Remedy] = plugins.REMEDIES.of(Remedy)
names, load = KIND.names, KIND.load


def most_candidates() -> int:
    """Return the most candidates that any run can have, however many of them are tried, in however many jobs."""
    return sum(load(name).most for name in names())


def candidates(subject: Subject) -> list[Candidate]:
    """Return a model's candidates without training, remedy by remedy."""
    return [candidate for name in names() for candidate in load(name).candidates(subject)]


def retrainings(recipe: Mapping[str, Any]) -> list[RetrainingRow]:
    """Return the possible retrainings of a resolved recipe, with their changed settings."""
    rows = []
    for remedy in map(load, names()):
        if not isinstance(remedy, Retraining):
            continue
        name, settings = remedy.name, BY_COMMAND if recipe.get("command") else remedy.settings(recipe)
        if isinstance(settings, str):
            rows.append(RetrainingRow(name, remedy.about, {}, why_not=settings))
        else:
            rows.append(RetrainingRow(name, remedy.about, dict(settings)))
    return rows


def subject_of(recipe: Mapping[str, Any], step: int, kind: str, steps: Sequence[int]) -> Subject:
    """Return the facts of a run's checkpoint: `kind` is its content, `steps` are those of all saved checkpoints."""
    parsed = recipe_from_resolved(recipe)
    name, options = parsed.method.name, parsed.method.options
    known = name in methods.names()
    return Subject(
        step=step,
        is_adapter=kind == "adapter",
        merges=not known or methods.load(name).merges(options),
        scales=name in SCALED,
        quantize=parsed.model.quantize,
        earlier=tuple(sorted({other_step for other_step in steps if other_step < step})),
    )


def chosen(all_candidates: Sequence[Candidate], only: Sequence[str]) -> list[Candidate]:
    """Return candidates by their or their remedy's name; without names all that are available. Raises NotFound."""
    if not only:
        return [candidate for candidate in all_candidates if not candidate.why_not]
    picked: list[Candidate] = []
    for name in only:
        named = [candidate for candidate in all_candidates if name in (candidate.name, candidate.remedy)]
        if not named:
            pairs = [(candidate.name, candidate.remedy) for candidate in all_candidates]
            known_names = sorted({word for pair in pairs for word in pair})
            hint = did_you_mean(name[:60], known_names)
            raise NotFound(f"this run has no remedy {name[:60]!r}.", hint=hint)
        if all(candidate.why_not for candidate in named):
            raise NotFound(f"{named[0].name} is not available: {named[0].why_not}.", hint="Leave it out.")
        picked += [candidate for candidate in named if not candidate.why_not and candidate not in picked]
    return [candidate for candidate in all_candidates if candidate in picked]
