"""Runs, their jobs and their states as plain data: what the store keeps and every client shows.

A run is one experiment. Its jobs are processes: one that makes it (by training, or by adopting what was trained
elsewhere), then any number that check. A run's state is that of the job that makes it; each state carries its own
facts, so that an impossible one can't be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from finetop.core.errors import Kind
from finetop.core.protocol.data_diff import SourceRow
from finetop.core.text import counted

FOR_A_SLOT = "waits for the one job slot"
STARTING = "starting"  # the phase of a job that has not said anything yet


class Queued(msgspec.Struct, tag="queued", frozen=True):
    place: int  # 1 starts next; 0: it waits in the queue of a cluster, not in ours
    because: str = ""  # why it waits
    held: bool = False  # until a person releases it
    paused_at: int | None = None  # the step that it goes on from when it is released
    next_at: float | None = None  # it does not start before
    tries: str = ""  # "2nd of 3 tries", where it failed before and is tried again by itself


class Running(msgspec.Struct, tag="running", frozen=True):
    since: float
    phase: str = ""  # "loading model", "training" …
    done: float | None = None
    total: float | None = None
    unit: str = ""
    left_s: float | None = None
    asked: Literal["", "stop", "kill", "pause"] = ""  # what a person asked for and has not happened yet
    pulse: Literal["", "silent", "hung", "stopped"] = ""  # how it goes on; stopped: by a signal
    silent_s: float = 0.0  # seconds since its last event, where it is not well
    usual_s: float | None = None  # its usual step, where one is known
    evidence: str = ""  # what its processes do meanwhile, in words
    frames: list[str] = []  # where they are, a line each
    late: list[str] = []  # which of several ranks has not finished what, what the others do, what it did last
    waits: str = ""  # why it waits in a cluster's queue; empty once it runs


class Finished(msgspec.Struct, tag="finished", frozen=True):
    since: float
    ended: float
    cause: str = ""  # why before its length: it had stopped improving


class Stopped(msgspec.Struct, tag="stopped", frozen=True):
    """Ended on request: with a checkpoint (`stop`, or `pause`, after which another job goes on) or without (`kill`)."""

    ended: float
    how: Literal["stop", "kill", "cancel", "pause"]
    since: float | None = None
    cause: str = ""  # as the job said it: asked to, a budget that is used up, a check that failed


class Failed(msgspec.Struct, tag="failed", frozen=True):
    ended: float
    cause: str  # "out of memory", "killed by signal 9", "bad data" … in words
    hint: str = ""
    since: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    kind: Kind = ""
    log: list[str] = []  # the last lines of the job's log; of a job's own state, not of its run's


class Lost(msgspec.Struct, tag="lost", frozen=True):
    """The machine restarted, or the process vanished without an exit record."""

    ended: float
    cause: str
    since: float | None = None
    kind: Kind = ""
    log: list[str] = []


# approach: a run that moves no weight, and is its measuring; measure: the same of a run that trains
Verb = Literal["train", "check", "import", "export", "remedy", "approach", "measure"]
NO_WEIGHT = "none"  # method and objective of a run that moves no weight
IMPORTED = "imported"  # objective of a run that was trained elsewhere
MAKES_A_RUN = ("train", "import", "approach")  # verbs of the job whose state is its run's

Ended = Finished | Stopped | Failed | Lost
State = Queued | Running | Ended


def well(state: Running) -> Running:
    """Leave out of a state what is said of a silence."""
    return msgspec.structs.replace(
        state, pulse="", silent_s=0.0, usual_s=None, evidence="", frames=[], late=[]
    )


def as_seen(state: State) -> State:
    """Return a state as people see it: who waits in a cluster's queue is queued, and has no place in ours."""
    if isinstance(state, Running) and state.waits and not state.asked:
        return Queued(place=0, because=state.waits)
    return state


def in_short(state: State) -> State:
    """Leave the log's last lines out of a state: a list of many runs has no room for them."""
    return msgspec.structs.replace(state, log=[]) if isinstance(state, Failed | Lost) else state


def ran_s(state: State) -> float | None:
    """Return how many seconds it ran; None if it has not ended or never began."""
    return state.ended - state.since if isinstance(state, Ended) and state.since is not None else None


def word(state: State) -> str:
    """Name a state: 'queued', 'running', 'finished', 'stopped', 'failed' or 'lost'."""
    return str(type(state).__struct_config__.tag)


class Before(msgspec.Struct, frozen=True):
    """How a run stood before a job was queued that goes on with it: put back when that job is refused or taken out."""

    state: State
    step: int
    recipe: dict[str, Any] | None = None  # where the job came with another
    model: str = ""  # what the list showed of it


class Share(msgspec.Struct, frozen=True):
    """What a job has of one GPU."""

    uuid: str
    index: int
    name: str
    gib: float | None  # of its memory, kept free of neighbours; None: all of it, and nobody beside
    others_gib: float = 0.0  # what others used of it when the job began


def gpus_word(shares: Sequence[Share]) -> str:
    """Name the GPUs that a job has: 'GPU 0, 1'; nothing for none."""
    return f"GPU {', '.join(str(share.index) for share in shares)}" if shares else ""


class JobSpec(msgspec.Struct, frozen=True):
    """What a job's process needs to know: job.json in its folder. No paths into the home: it can move."""

    format: int
    job_id: int
    run_id: int
    run_name: str
    verb: Verb
    recipe: dict[str, Any]  # resolved; see finetop.core.recipe.load.recipe_to_mapping
    # check: {"checkpoint": "checkpoints/step-000120", "step": 120}, import: {"path": "/models/x", "copy": false}
    # train: {} or {"resume": {"step": 120, "checkpoint": "checkpoints/step-000120", "anyway": false}, "changes": […]}
    # (in "resume" also "began", where a cluster has started a job once more: whether it is the one that began the run)
    # export: {"checkpoint": …, "step": 120, "to": "/models/y", "dtype": "bfloat16"}; of a remedy also {"remedy": {…}}
    # remedy: {"checkpoint": …, "step": 120, "candidates": [{"name": "interpolate-0.5", "checkpoint": …, …}]}
    # approach, measure: {"approach": "lora", "step": 120, "checkpoint": …}, without the last two where no weight moves
    args: dict[str, Any] = {}
    log_mib: int | None = None  # so much of the disk its log may take
    events_taken: int = 0  # the highest number of its events that is in the store
    ranks: int = 1  # processes that it runs in: one for each of its GPUs
    nodes: int = 1  # of a cluster, over which they are spread evenly


class TaskBrief(msgspec.Struct, frozen=True):
    task: str
    drop: float  # points of 100; positive = worse than the base
    mark: str  # "lost", "kept", "open", "unmeasurable"


USUAL_SUITE = "quick"  # what is checked on where a recipe names none; it goes without saying


class CheckBrief(msgspec.Struct, frozen=True):
    """The newest check of a run, as much as a list needs. Points are of 100; a positive drop is worse."""

    check_id: int
    verdict: Literal["ok", "regressed", "no_verdict"]
    reason: str
    step: int | None
    drop: float | None
    margin: float
    real_drop: bool  # proven above zero, though under the limit
    items_used: int
    items_total: int
    suite: str
    at: float
    worst: list[TaskBrief]  # worst first
    target: dict[str, list[float | None]]  # metric -> [base, tuned]
    accepted: str = ""  # by whom
    accepted_for: str = ""  # the reason
    fixed_by: str = ""  # the run that mends it
    claim: int = 0  # 0: the run's only claim; k: the k-th checkpoint's
    watch: bool = False  # a look that claims nothing
    target_failed: str = ""  # why the target could not be measured

    @property
    def is_settled(self) -> bool:
        """Say if a person has accepted the regression, or named the run that mends it."""
        return bool(self.accepted or self.fixed_by)


class RemedyRow(msgspec.Struct, frozen=True):
    """One model that can be had of a run's without training, and how it did if it was tried. Points are of 100."""

    name: str
    remedy: str
    label: str
    step: int  # of the checkpoint that it is made of
    settings: dict[str, Any] = {}
    about: str = ""
    why_not: str = ""  # it can't be had
    verdict: Literal["", "ok", "regressed", "no_verdict", "failed", "unchanged"] = (
        ""  # on the items for choosing; "": not tried
    )
    reason: str = ""
    target: dict[str, float] = {}  # metric -> what it reaches
    kept: dict[
        str, float
    ] = {}  # the share of the gain that it keeps by each metric of the target that gained
    gain: float | None = None  # the least of them
    drop: float | None = None
    interval: tuple[float, float] | None = None  # of the drop of ability
    decided: tuple[float, float] | None = None  # the interval of the drop that the verdict goes by
    items_used: int = 0
    items_total: int = 0
    worst: list[TaskBrief] = []
    note: str = ""  # what the change did
    weights: str = ""  # sha256 of what was scored
    seconds: float = 0.0
    at: float = 0.0
    confirmation: Literal["", "ok", "regressed", "no_verdict", "no_items"] = ""  # on items that chose nothing
    fresh_reason: str = ""
    fresh_drop: float | None = None
    fresh_interval: tuple[float, float] | None = None
    fresh_decided: tuple[float, float] | None = None
    fresh_used: int = 0
    fresh_total: int = 0
    alpha: float = 0.0  # that the confirmation spends


class Tried(msgspec.Struct, frozen=True):
    """How many of its remedies a job has tried, and about how long the others take."""

    done: int
    total: int
    left_s: float | None = None


class SideJob(msgspec.Struct, frozen=True):
    """A job of a run that is under way and does not make it: its check, its remedies, an export, its measuring."""

    verb: Verb
    state: Running | Queued
    tried: Tried | None = None  # of remedies


class RunRow(msgspec.Struct, frozen=True):
    """One line of the runs list."""

    id: int
    name: str
    model: str
    method: str
    objective: str
    state: State
    created: float
    step: int
    steps: int  # planned; 0 while unknown
    metrics: dict[str, float | None]  # last value of each key; of a best checkpoint that is kept, its own
    check: CheckBrief | None
    checking: Running | Queued | None  # a check that is under way or waits
    needs_you: bool
    alarm: str = ""  # the text of the newest alarm that is not over
    left_s: float | None = None
    tags: list[str] = []
    note: str = ""
    said: str = ""  # why going on with it was refused
    host: str = (
        ""  # the machine that it is on, where several are looked at; the name then begins with "HOST:"
    )
    settings: dict[str, float | str] = {}  # of its recipe, those that were asked for
    group: str = ""  # what the list is parted by, in a word; empty: it has none
    gpus: str = ""  # that its jobs have now: "GPU 0, 1"
    others: list[SideJob] = []  # under way beside its training and its check
    saved: int = 0  # checkpoints that are kept
    resumable: bool = True  # whether they have what training needs to go on

    @property
    def side_jobs(self) -> list[SideJob]:
        """What is under way beside its training: what runs first, its check first of what runs or waits."""
        check = [] if self.checking is None else [SideJob("check", self.checking)]
        return sorted([*check, *self.others], key=lambda job: isinstance(job.state, Queued))

    @property
    def is_under_way(self) -> bool:
        """Whether any job of it runs or waits."""
        return isinstance(self.state, Queued | Running) or bool(self.side_jobs)

    @property
    def made_by(self) -> Verb:
        """The verb of the job that makes it, whose state is its own."""
        if self.method == NO_WEIGHT:
            return "approach"
        return "import" if self.objective == IMPORTED else "train"

    @property
    def main_metric(self) -> Literal["reward", "loss"]:
        """Name what says how well it learns: the reward of a run that is paid, whose loss is about 0, else the loss."""
        return "loss" if self.metrics.get("reward") is None else "reward"


class CheckpointRow(msgspec.Struct, frozen=True):
    step: int
    path: str
    size_bytes: int
    kind: str
    at: float


class Best(msgspec.Struct, frozen=True):
    """The checkpoint to keep, and why."""

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
    used: int | None = None  # in an epoch, where the source's share decides


class JobRow(msgspec.Struct, frozen=True):
    id: int
    verb: str
    state: State
    attempt: int
    folder: str  # relative to the run folder
    bad_lines: int  # event lines that could not be read
    args: dict[str, Any] = {}  # what it was told: see JobSpec
    gpus: list[Share] = []  # that it has, or had; none: it ran on the CPU, or on what was there
    bad_line: str = ""  # where the first of those lines is, and why

    @property
    def unread(self) -> str:
        """Say which of its event lines could not be read; nothing where all could."""
        if not self.bad_lines:
            return ""
        lines = counted(self.bad_lines, "line")
        first = f": {self.bad_line}" if self.bad_lines == 1 else f", the first: {self.bad_line}"
        said = f"{lines} of {self.folder}/events.jsonl could not be read{first if self.bad_line else ''}"
        return f"{said}. The others are kept."

    @property
    def is_under_way(self) -> bool:
        """Whether it runs or waits."""
        return isinstance(self.state, Queued | Running)


class AlarmRow(msgspec.Struct, frozen=True):
    kind: str
    step: int
    text: str
    at: float
    over_step: int | None = None  # since which step it is over


class Relative(msgspec.Struct, frozen=True):
    """A run that this one began from, or that began from this one."""

    id: int
    name: str
    setting: str  # of the child's recipe: model.id, objective.reward.model …
    step: int | None  # of the parent's checkpoint; None until the parent has finished


class RunDetail(msgspec.Struct, frozen=True):
    """Everything about one run but its curves, its log and its item scores."""

    row: RunRow
    folder: str
    recipe: dict[str, Any]
    recipe_source: str
    jobs: list[JobRow]
    checkpoints: list[CheckpointRow]
    samples: list[SampleRow]
    data: list[DataRow]
    first_row: list[tuple[str, bool]]
    alarms: list[AlarmRow]  # the newest, in their order
    checks: list[CheckBrief]
    device: str
    versions: dict[str, str]
    planned: dict[str, float]
    best: Best | None = None
    parents: list[Relative] = []
    children: list[Relative] = []
    alarms_total: int = 0
    sources: list[SourceRow] = []  # what was read, as far as the run told it
