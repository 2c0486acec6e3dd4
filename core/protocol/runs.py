"""Runs, their jobs and their states as plain data: what the store holds and every client shows.

A run is one experiment. One of its jobs makes it (by training, or by importing what was trained elsewhere), any number
of others check it. A run's state is that of the job that makes it; each state has its own fields, so that impossible
combinations can't be expressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from finetop.core.errors import Kind
from finetop.core.protocol import job_kinds
from finetop.core.protocol.data_diff import SourceRow
from finetop.core.protocol.exports import ExportedFile
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.text import counted

FOR_A_SLOT = "waits for the one job slot"
STARTING = "starting"  # the phase before a job's first event


class Queued(msgspec.Struct, tag="queued", frozen=True):
    place: int  # 1 starts next; 0: it waits in a cluster's queue, not in ours
    because: str = ""  # why it waits
    held: bool = False  # until a user releases it
    paused_at: int | None = None  # the step that it resumes from when released
    next_at: float | None = None  # earliest start
    tries: str = ""  # "2nd of 3 tries", if it failed before and is retried automatically


class Running(msgspec.Struct, tag="running", frozen=True):
    since: float
    phase: str = ""  # "loading model", "training" …
    done: float | None = None
    total: float | None = None
    unit: str = ""
    left_s: float | None = None
    asked: Literal["", "stop", "kill", "pause"] = ""  # a user's request that has not taken effect yet
    pulse: Literal["", "silent", "hung", "stopped"] = ""  # health; stopped: by a signal
    silent_s: float = 0.0  # seconds since its last event, if it is silent
    usual_s: float | None = None  # its usual step time, if known
    evidence: str = ""  # what its processes are doing, in words
    frames: list[str] = []  # their stack frames, a line each
    late: list[str] = []  # which of several ranks is late with what, what the others do, what it did last
    waits: str = ""  # why it waits in a cluster's queue; empty once it runs
    per_s: float | None = None  # units of its progress a second


class Finished(msgspec.Struct, tag="finished", frozen=True):
    since: float
    ended: float
    cause: str = ""  # why it ended early: it had stopped improving


class Stopped(msgspec.Struct, tag="stopped", frozen=True):
    """Ended on request: with a checkpoint (`stop`, or `pause`, which another job resumes) or without (`kill`)."""

    ended: float
    how: Literal["stop", "kill", "cancel", "pause"]
    since: float | None = None
    cause: str = ""  # the job's reason: a request, a budget that is used up, a check that failed


class Failed(msgspec.Struct, tag="failed", frozen=True):
    ended: float
    cause: str  # "out of memory", "killed by signal 9", "bad data" … in words
    hint: str = ""
    since: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    kind: Kind = ""
    log: list[str] = []  # last lines of the job's log; only in a job's own state, not in its run's


class Lost(msgspec.Struct, tag="lost", frozen=True):
    """The machine restarted, or the process vanished without an exit record."""

    ended: float
    cause: str
    since: float | None = None
    kind: Kind = ""
    log: list[str] = []


Verb = str  # of a kind of job: protocol/job_kinds.py
NO_WEIGHT = "none"  # method and objective of a run without weight changes
GGUF = "gguf"  # method of a run that is a GGUF file, which llama.cpp alone reads
UNKNOWN = "?"  # model of a run, until its output names it
IMPORTED = "imported"  # objective of a run that was trained elsewhere
COMMAND, WATCHED = (
    "command",
    "watched",
)  # objective of a run that another program trains: started by us, or not

Ended = Finished | Stopped | Failed | Lost
State = Queued | Running | Ended


def without_silence(state: Running) -> Running:
    """Return a state without its signs of silence."""
    return replace(state, pulse="", silent_s=0.0, usual_s=None, evidence="", frames=[], late=[])


def visible_state(state: State) -> State:
    """Return a state as users see it: a job in a cluster's queue is queued, without a place in ours."""
    if isinstance(state, Running) and state.waits and not state.asked:
        return Queued(place=0, because=state.waits)
    return state


def without_log(state: State) -> State:
    """Return a state without the log's last lines, which would be too long for lists of runs."""
    return replace(state, log=[]) if isinstance(state, Failed | Lost) else state


def ran_s(state: State) -> float | None:
    """Return how many seconds it ran; None if it has not ended or never began."""
    return state.ended - state.since if isinstance(state, Ended) and state.since is not None else None


def word(state: State) -> str:
    """Return a state's word: 'queued', 'running', 'finished', 'stopped', 'failed' or 'lost'."""
    return str(type(state).__struct_config__.tag)


class Before(msgspec.Struct, frozen=True):
    """A run's state before a job was queued that resumes it; restored if that job is refused or removed."""

    state: State
    step: int
    recipe: dict[str, Any] | None = None  # if the job changed it
    model: str = ""  # the model shown in lists


RELEASED_GIB = 0.0  # the share of a job that is done with its GPU


class Share(msgspec.Struct, frozen=True):
    """A job's share of one GPU."""

    uuid: str
    index: int
    name: str
    gib: float | None  # reserved memory; None: all of it, with no other job on it
    others_gib: float = 0.0  # used by others when the job started


def gpus_word(shares: Sequence[Share]) -> str:
    """Name a job's GPUs, as in 'GPU 0, 1'; empty for none."""
    return f"GPU {', '.join(str(share.index) for share in shares)}" if shares else ""


class JobSpec(msgspec.Struct, frozen=True):
    """What a job's process needs to know: job.json in its folder. No paths into the home, which may move."""

    format: int
    job_id: int
    run_id: int
    run_name: str
    verb: Verb
    recipe: dict[str, Any]  # resolved; see finetop.core.recipe.load.recipe_to_mapping
    # check: {"checkpoint": "checkpoints/step-000120", "step": 120}, import: {"path": "/models/x", "copy": false}
    # train: {} or {"resume": {"step": 120, "checkpoint": "checkpoints/step-000120", "anyway": false}, "changes": […]}
    # ("resume" also has "began" if a cluster restarted the job: whether this job started the run)
    # export: {"checkpoint": …, "step": 120, "to": "/models/y", "dtype": "bfloat16"}; of a remedy also {"remedy": {…}};
    # of GGUF files also {"quants": "q8_0", "general": {…} or "unasked": "why", "anyway": true}
    # push: {"folder": "/models/y", "repo": "org/name", "kind": "adapter", "step": 120, "card": "cards/3f….json", …}
    # remedy: {"checkpoint": …, "step": 120, "candidates": [{"name": "interpolate-0.5", "checkpoint": …, …}]}
    # approach, measure: {"approach": "lora", "step": 120, "checkpoint": …}, the last two only if weights change
    # chat: {"sides": [a ChatSide and its place, in one]}; "on_cpu", "is_own": true only if set
    args: dict[str, Any] = {}
    log_mib: int | None = None  # disk limit of its log
    events_taken: int = 0  # highest number of its events in the store
    ranks: int = 1  # number of processes: one per GPU
    nodes: int = 1  # of a cluster, with the ranks spread evenly over them

    @property
    def kind(self) -> job_kinds.JobKind:
        """What its verb is. Raises NotFound."""
        return job_kinds.of(self.verb)


class TaskBrief(msgspec.Struct, frozen=True):
    task: str
    drop: float  # points of 100; positive: worse than the base
    mark: str  # "lost", "kept", "open", "unmeasurable"


USUAL_SUITE = "quick"  # the default suite, which lists don't mention


# Of the weights behind a verdict; changed: others than those it is of; unread: rewritten since they were last hashed
Now = Literal["same", "changed", "unread"]


class CheckBrief(msgspec.Struct, frozen=True):
    """A run's newest check, reduced to what a list needs. Points are of 100; a positive drop is worse."""

    check_id: int
    verdict: Literal["ok", "regressed", "no_verdict"]
    reason: str
    step: int | None
    drop: float | None
    margin: float
    real_drop: bool  # proven above zero, but below the limit
    items_used: int
    items_total: int
    suite: str
    at: float
    worst: list[TaskBrief]  # worst first
    target: dict[str, list[float | None]]  # metric -> [base, tuned]
    accepted: str = ""  # by whom
    accepted_for: str = ""  # the reason
    fixed_by: str = ""  # the run that fixes it
    claim: int = 0  # 0: the run's only claim; k: the k-th checkpoint's
    watch: bool = False  # claims nothing
    target_failed: str = ""  # why the target could not be measured
    weights_now: Now = "same"  # not compared in a list of runs

    @property
    def is_settled(self) -> bool:
        """Whether a user accepted the regression, or named the run that fixes it."""
        return bool(self.accepted or self.fixed_by)


class RemedyRow(msgspec.Struct, frozen=True):
    """One model that can be made from a run's without training, and its result if it was tried. Points are of 100."""

    name: str
    remedy: str
    label: str
    step: int  # of the checkpoint it is made of
    settings: dict[str, Any] = {}
    about: str = ""
    why_not: str = ""  # why it is not available
    # on the selection items; "": not tried
    verdict: Literal["", "ok", "regressed", "no_verdict", "failed", "unchanged"] = ""
    reason: str = ""
    target: dict[str, float] = {}  # metric -> score
    kept: dict[str, float] = {}  # share of the gain that is kept, by each metric of the target that gained
    gain: float | None = None  # the least of them
    drop: float | None = None
    interval: tuple[float, float] | None = None  # of the drop of ability
    decided: tuple[float, float] | None = None  # the interval of the drop that the verdict is based on
    items_used: int = 0
    items_total: int = 0
    worst: list[TaskBrief] = []
    note: str = ""  # what was changed
    weights: str = ""  # sha256 of the scored weights
    models: dict[str, str] = {}  # sha256 of the "base" and of the checkpoint ("tuned") that it was made of
    weights_now: Now = "same"  # of these two; unless same, the row has no results: they are of other weights
    seconds: float = 0.0
    at: float = 0.0
    confirmation: Literal["", "ok", "regressed", "no_verdict", "no_items"] = ""  # on the confirmation items
    fresh_reason: str = ""
    fresh_drop: float | None = None
    fresh_interval: tuple[float, float] | None = None
    fresh_decided: tuple[float, float] | None = None
    fresh_used: int = 0
    fresh_total: int = 0
    alpha: float = 0.0  # spent on the confirmation


class Tried(msgspec.Struct, frozen=True):
    """How many of its remedies a job has tried, and the estimated time for the others."""

    done: int
    total: int
    left_s: float | None = None


class SideJob(msgspec.Struct, frozen=True):
    """An unfinished job of a run that does not make it: a check, remedies, an export, a measurement."""

    verb: Verb
    state: Running | Queued
    tried: Tried | None = None  # of remedies

    @property
    def kind(self) -> job_kinds.JobKind:
        """What its verb is."""
        return job_kinds.of(self.verb)


class RunRow(msgspec.Struct, frozen=True):
    """One line of the list of runs."""

    id: int
    name: str
    model: str
    method: str
    objective: str
    state: State
    created: float
    step: int
    steps: int  # planned; 0 while unknown
    metrics: dict[str, float | None]  # last value of each key, or the best checkpoint's own
    check: CheckBrief | None
    checking: Running | Queued | None  # a check that runs or waits
    needs_you: bool
    alarm: str = ""  # text of the newest open alarm
    left_s: float | None = None
    tags: list[str] = []
    note: str = ""
    not_resumed: str = msgspec.field(default="", name="said")  # why resuming it was refused
    host: str = ""  # its machine, if the list shows several: the name of the run then starts with "HOST:"
    settings: dict[str, float | str] = {}  # of its recipe, the requested ones
    group: str = ""  # its group's word; empty: none
    gpus: str = ""  # of its live jobs: "GPU 0, 1"
    others: list[SideJob] = []  # unfinished jobs besides its training and its check
    saved: int = 0  # saved checkpoints
    resumable: bool = True  # whether they have trainer state

    @property
    def side_jobs(self) -> list[SideJob]:
        """Unfinished jobs besides its training: running ones first, and a check before others."""
        check = [] if self.checking is None else [SideJob("check", self.checking)]
        return sorted([*check, *self.others], key=lambda job: isinstance(job.state, Queued))

    def tuned(self, model: str) -> str:
        """Return its method on a model, as that is shown: 'lora on Qwen3-4B'; without one that is not known yet."""
        return self.method if self.model == UNKNOWN else f"{self.method} on {model}"

    @property
    def is_under_way(self) -> bool:
        """Whether any of its jobs runs or waits."""
        return isinstance(self.state, Queued | Running) or bool(self.side_jobs)

    @property
    def made_by(self) -> Verb:
        """The verb of the job that makes it, whose state is its own."""
        if self.method == NO_WEIGHT:
            return job_kinds.maker_of(NO_WEIGHT)
        return job_kinds.maker_of(self.objective)

    @property
    def maker(self) -> job_kinds.JobKind:
        """The kind of that job."""
        return job_kinds.of(self.made_by)

    @property
    def main_metric(self) -> Literal["reward", "loss"]:
        """The metric of its progress: the reward if there is one, as the loss is then about 0, else the loss."""
        return "loss" if self.metrics.get("reward") is None else "reward"


class CheckpointRow(msgspec.Struct, frozen=True):
    step: int
    path: str
    size_bytes: int
    kind: str
    at: float


class Best(msgspec.Struct, frozen=True):
    """The best checkpoint, and why."""

    step: int
    text: str


class SampleRow(msgspec.Struct, frozen=True):
    step: int
    index: int
    prompt: str
    text: str


class DataRow(msgspec.Struct, frozen=True):
    source: str
    rows: int
    kept: int
    dropped: int
    truncated: int
    longest_tokens: int
    answer_tokens: int
    used: int | None = None  # per epoch, if the source's share decides


class JobRow(msgspec.Struct, frozen=True):
    id: int
    verb: str
    state: State
    attempt: int
    folder: str  # relative to the run folder
    bad_lines: int  # event lines that could not be read
    args: dict[str, Any] = {}  # see JobSpec
    gpus: list[Share] = []  # current or last ones; empty: it ran on the CPU, or on whatever was visible
    bad_line: str = ""  # place and error of the first of those lines

    @property
    def kind(self) -> job_kinds.JobKind:
        """What its verb is."""
        return job_kinds.of(self.verb)

    @property
    def unread(self) -> str:
        """A message about unreadable event lines; '' if there are none."""
        if not self.bad_lines:
            return ""
        lines = counted(self.bad_lines, "line")
        first = f": {self.bad_line}" if self.bad_lines == 1 else f", the first: {self.bad_line}"
        message = f"{lines} of {self.folder}/events.jsonl could not be read{first if self.bad_line else ''}"
        return f"{message}. The others are kept."

    @property
    def is_under_way(self) -> bool:
        """Whether it runs or waits."""
        return isinstance(self.state, Queued | Running)


class AlarmRow(msgspec.Struct, frozen=True):
    kind: str
    step: int
    text: str
    at: float
    over_step: int | None = None  # the step at which it closed


class Relative(msgspec.Struct, frozen=True):
    """A parent or child of a run."""

    id: int
    name: str
    setting: str  # of the child's recipe: model.id, objective.reward.model …
    step: int | None  # of the parent's checkpoint; None until the parent has finished


class RunDetail(msgspec.Struct, frozen=True):
    """Everything about one run except its curves, its log and its item scores."""

    row: RunRow
    folder: str
    recipe: dict[str, Any]
    recipe_source: str
    jobs: list[JobRow]
    checkpoints: list[CheckpointRow]
    samples: list[SampleRow]
    data: list[DataRow]
    first_row: list[tuple[str, bool]]
    alarms: list[AlarmRow]  # the newest, in order
    checks: list[CheckBrief]
    device: str
    versions: dict[str, str]
    planned: dict[str, float]
    best: Best | None = None
    parents: list[Relative] = []
    children: list[Relative] = []
    alarms_total: int = 0
    sources: list[SourceRow] = []  # what was read, if the run reported it
    exports: list[ExportedFile] = []  # oldest first
    numbers_from: NumbersFrom | None = None  # of another program
    deleted: list[int] = []  # steps of reported checkpoints that are no longer on disk
