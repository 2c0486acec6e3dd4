"""Runs that are queued, gone on with, written as whole models or adopted."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from finetop.core.protocol.messages.limits import PRIORITIES, Priority, Whole
from finetop.core.protocol.request import Order


class SubmitAnswer(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    place: int
    held: bool = False


class Submit(Order[SubmitAnswer], tag="submit", frozen=True):
    """Queue a run. `recipe` is resolved (all defaults), `source` the text it came from."""

    makes_home: ClassVar[bool] = True

    recipe: dict[str, Any]
    source: str
    name: str  # wanted; a number is added when it is taken
    held: bool = False  # until it is released
    priority: Priority = PRIORITIES["normal"]


class Stage(msgspec.Struct, frozen=True):
    """One run of a chain. Its recipe may name another stage as a model: `stage:NAME`."""

    name: str
    recipe: dict[str, Any]


class SubmitChainAnswer(msgspec.Struct, frozen=True):
    runs: list[SubmitAnswer]


class SubmitChain(Order[SubmitChainAnswer], tag="chain", frozen=True):
    """Queue the runs of a chain, each named NAME.STAGE; one starts when those that it begins from have finished."""

    makes_home: ClassVar[bool] = True

    name: str  # wanted; a number is added when a stage's name is taken
    stages: list[Stage]  # in an order in which each stands behind those that it begins from
    source: str
    first: str = ""  # begin at this stage, on the runs that the stages before it have made
    held: bool = False  # its first runs, until they are released
    priority: Priority = PRIORITIES["normal"]


class SweepRun(msgspec.Struct, frozen=True):
    """One run of a sweep."""

    name: str  # wanted; a number is added when it is taken
    recipe: dict[str, Any]
    tags: list[str] = []  # of its own: `select.by/random`, `rows/200` of a curve over selected rows


class SubmitSweepAnswer(msgspec.Struct, frozen=True):
    sweep: str
    runs: list[SubmitAnswer]


class SubmitSweep(Order[SubmitSweepAnswer], tag="submit-sweep", frozen=True):
    """Queue the runs of a sweep, all or none; the tag `sweep/NAME` ties them together."""

    makes_home: ClassVar[bool] = True

    name: str  # wanted; a number is added when there is such a sweep
    runs: list[SweepRun]
    source: str
    held: bool = False
    priority: Priority = PRIORITIES["normal"]


class ResumeAnswer(msgspec.Struct, frozen=True):
    run: str
    step: int  # 0: it begins anew, as there is no checkpoint
    changes: list[str]  # what was changed in the recipe, in words
    place: int


class Resume(Order[ResumeAnswer], tag="resume", frozen=True):
    """Queue a run to go on from one of its checkpoints (None: the newest), in the same folder."""

    run: str
    step: Whole | None = None
    recipe: dict[str, Any] | None = None  # resolved, where settings were changed
    anyway: bool = False  # also with other data, and where later checkpoints are lost


class ExportAnswer(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    step: int


class Export(Order[ExportAnswer], tag="export", frozen=True):
    """Queue the writing of a run's checkpoint as one whole model, or its adapter alone.

    Without a step it is the best that the run kept, else the newest.
    """

    run: str
    to: str  # a folder that is not there yet, absolute
    step: Whole | None = None
    dtype: str = "auto"
    remedy: str = ""  # what this remedy made of the checkpoint, in place of it
    adapter: bool = False  # the adapter alone, in the number format that it has


class ImportAnswer(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    reused: bool


class Import(Order[ImportAnswer], tag="import", frozen=True):
    """Adopt a model that was made elsewhere as a run. `recipe`, `source` and `name` as in Submit."""

    makes_home: ClassVar[bool] = True

    recipe: dict[str, Any]
    source: str
    name: str
    path: str  # the folder that it lies in, absolute
    steps: list[Whole]  # of the checkpoints that the folder holds now
    copy: bool = False  # its weights into the home; else they are linked
    reuse: bool = False  # answer with the run that this folder was adopted as before, if there is one
