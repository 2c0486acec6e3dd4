"""Submit, resume, export and import runs."""

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
    name: str  # requested; a number is added if it is taken
    held: bool = False  # until it is released
    priority: Priority = PRIORITIES["normal"]


class Watch(Order[SubmitAnswer], tag="watch", frozen=True):
    """Watch a program that was started without finetop, as a run. `recipe`, `source` and `name` as in Submit."""

    makes_home: ClassVar[bool] = True

    recipe: dict[str, Any]
    source: str
    name: str
    pid: Whole = 0  # 0: no process is known; the watch ends when nothing new is written
    start: str = ""  # when that process started
    log: str = ""  # the file that it prints to


class Stage(msgspec.Struct, frozen=True):
    """One run of a chain. Its recipe may name another stage as a model: `stage:NAME`."""

    name: str
    recipe: dict[str, Any]


class SubmitChainAnswer(msgspec.Struct, frozen=True):
    runs: list[SubmitAnswer]


class SubmitChain(Order[SubmitChainAnswer], tag="chain", frozen=True):
    """Queue the runs of a chain, each named NAME.STAGE; a stage starts when those it depends on have finished."""

    makes_home: ClassVar[bool] = True

    name: str  # requested; a number is added if a stage's name is taken
    stages: list[Stage]  # in dependency order
    source: str
    first: str = ""  # start at this stage, from the existing runs of earlier stages
    held: bool = False  # the first runs, until they are released
    priority: Priority = PRIORITIES["normal"]


class SweepRun(msgspec.Struct, frozen=True):
    """One run of a sweep."""

    name: str  # requested; a number is added if it is taken
    recipe: dict[str, Any]
    tags: list[str] = []  # additional: `select.by/random`, `rows/200` of a curve over selected rows


class SubmitSweepAnswer(msgspec.Struct, frozen=True):
    sweep: str
    runs: list[SubmitAnswer]


class SubmitSweep(Order[SubmitSweepAnswer], tag="submit-sweep", frozen=True):
    """Queue the runs of a sweep, all or none; the tag `sweep/NAME` links them."""

    makes_home: ClassVar[bool] = True

    name: str  # requested; a number is added if there is such a sweep
    runs: list[SweepRun]
    source: str
    held: bool = False
    priority: Priority = PRIORITIES["normal"]


class ResumeAnswer(msgspec.Struct, frozen=True):
    run: str
    step: int  # 0: it starts over, as there is no checkpoint; of another program: not known
    changes: list[str]  # changes of the recipe, in words
    place: int
    what: str = "train"  # train, command, check …


class Resume(Order[ResumeAnswer], tag="resume", frozen=True):
    """Queue a run to resume from one of its checkpoints (None: the newest), in the same folder."""

    run: str
    step: Whole | None = None
    recipe: dict[str, Any] | None = None  # resolved, if settings were changed
    anyway: bool = False  # even with other data, and if later checkpoints are lost


class ImportAnswer(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    reused: bool


class Import(Order[ImportAnswer], tag="import", frozen=True):
    """Import a model that was trained elsewhere as a run. `recipe`, `source` and `name` as in Submit."""

    makes_home: ClassVar[bool] = True

    recipe: dict[str, Any]
    source: str
    name: str
    path: str  # absolute path of the folder
    steps: list[Whole]  # of the checkpoints in the folder now
    copy: bool = False  # copy the weights into the home; else link them
    reuse: bool = False  # return an existing run that was imported like this from the folder, if any
