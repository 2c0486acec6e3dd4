"""Kinds of jobs: what each verb is and what the rest of finetop has to know of it, found by listing.

The kernel's own are files of core/kinds, a feature's are in its kind.py; both list them in KINDS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from finetop.core import plugins
from finetop.core.text import clean_line

PACKAGE = "finetop.core.kinds"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a plan says of a job's model, in bytes."""

    training: float  # all that its training needs
    weights: float
    engine_copy: float  # the weights once more, in an engine that writes answers
    parameters: float  # their number


class JobKind:
    """A kind of job. What it does not say is as of a job beside its run, which computes for a while and ends."""

    verb: str
    work = ""  # the module that does it, in the job's process: work(job), IF_STOPPED
    word: str  # its name: "the check of demo"
    counted = ""  # its name when several are counted, if that is another
    many = ""  # and their plural, if it is irregular

    makes_a_run = False  # its state is its run's
    makes: Sequence[str] = ()  # the objectives of the runs that it makes, if they are no recipe's
    trains_here = False  # our own training, which resumes from its checkpoints
    of_others = False  # another program's training
    is_command = False  # a program that we start and end
    only_watches = False  # one that somebody else started: it goes on when its job ends
    is_import = False  # it reads a model that was made elsewhere
    takes_budget = False  # it takes the GPUs of the recipe's budget; others one at most
    reports_steps = False  # it may go back to an earlier one
    leaves_model = False  # a run that it has made may be checked
    gives_verdict = False  # on whether a run forgot
    tries_candidates = (
        False  # those that its args list, one after the other; a run has one such job at a time
    )
    idles = False  # it waits for others most of the time: its silence tells nothing, and its end is unknown
    can_pause = True
    no_pause = "Wait for it to end: it does not take long."  # what to do instead
    is_asked_for = False  # its user waits for it, and is told at once what the machine lacks
    retries = True
    blocks = True  # while it is under way, nothing else changes its run
    reports_whole = False  # the time left that it reports is that of all its phases
    while_saving = ""  # what it does before a stop, behind "stopping"
    ends = "is signalled to end"  # so does a run whose job is stopped
    screen = ""  # of the app, which shows it; empty: its run's

    def only_reads(self, args: Mapping[str, Any]) -> bool:
        """Return True for a job that computes nothing: it takes no GPU, and stays on this machine."""
        return False

    def models(self, args: Mapping[str, Any]) -> int:
        """Return how many models it has in memory at once."""
        return 1

    def alike(self, args: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
        """Return what its duration depends on, beside its verb; None if it is like no other's."""
        return None

    def gib(self, sizes: Sizes, models: int) -> float:
        """Return the GPU memory that it needs, in GiB; `models` are in memory at once."""
        return sizes.training / 2**30

    def resumes(self, step: int) -> str:
        """Return how a job goes on that was queued again; step 0: at none that is known."""
        return f"repeats its {self.verb}"

    def kept(self, done: int, total: int) -> str:
        """Return what is kept of it when it is ended before its time; `done` of `total` candidates were tried."""
        return ""

    def not_started(self) -> str:
        """Return what is said of one that is removed from the queue."""
        return "It has not started."

    def facts(self, args: Mapping[str, Any]) -> str:
        """Return what `finetop show` says of its arguments; empty if there is nothing to say."""
        return ""

    def half_written(self, args: Mapping[str, Any]) -> str:
        """Return the folder outside its run's beside which a killed one leaves what it had begun; empty: none."""
        return ""


@cache
def kinds() -> Mapping[str, JobKind]:
    """Return all kinds by verb: what trains first, then the kernel's."""
    own = sorted(module.name for module in iter_modules(import_module(PACKAGE).__path__))
    modules = [*(import_module(f"{PACKAGE}.{name}") for name in own), *plugins.doors("kind")]
    found = [kind for module in modules for kind in module.KINDS]
    return {
        kind.verb: kind for kind in sorted(found, key=lambda kind: (not kind.trains_here, not kind.of_others))
    }


def of(verb: str) -> JobKind:
    """Return the kind of a verb; one that is not known, as a newer finetop's, is a job beside its run."""
    return kinds().get(verb) or Unknown(verb)


class Unknown(JobKind):
    """A kind that this finetop does not have."""

    def __init__(self, verb: str) -> None:
        self.verb, self.word = verb, clean_line(verb, limit=20)


@cache
def verbs_that(fact: str) -> tuple[str, ...]:
    """Return the verbs of which a fact holds: makes_a_run, of_others …"""
    return tuple(verb for verb, kind in kinds().items() if getattr(kind, fact))


@cache
def maker_of(objective: str) -> str:
    """Return the verb of the job that makes a run of this objective."""
    return next((verb for verb, kind in kinds().items() if objective in kind.makes), "train")
