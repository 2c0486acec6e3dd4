"""What clients and the supervisor say to each other: one JSON object a line over the home's Unix socket.

    -> {"v": 1, "id": 7, "ask": {"verb": "runs", "limit": 50}}
    <- {"id": 7, "answer": {…}}   or   {"id": 7, "error": {"exit": 2, "message": …, "hint": …}}

Over a slow link an answer may come as what has changed since an earlier one: see held.py.
Each request is a type below and each has one answer type (`ANSWERS`). Requests on one connection are answered
in order, except `changes`, which waits; so a client that waits for changes opens a connection of its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.notices import Notice, Way
from finetop.core.queue_words import PRIORITIES
from finetop.core.run import Queued, RunDetail, RunRow

VERSION = 1
REQUEST_LIMIT = 4 << 20  # bytes of one request
ANSWER_LIMIT = 16 << 20

Whole = Annotated[int, Meta(ge=-(2**31), lt=2**31)]  # what the store's columns hold
Large = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # what every reader of JSON holds: bytes, revisions


Priority = Annotated[int, Meta(ge=0, le=100)]  # the smaller starts first


class Hello(msgspec.Struct, tag_field="verb", tag="hello", frozen=True):
    pass


class HelloAnswer(msgspec.Struct, frozen=True):
    version: str  # finetop's
    protocol: int
    pid: int
    home: str
    host: str
    started: float
    device: str  # "2 CPU cores", "4 GPUs": what jobs run on
    spare: str = ""  # the process that waits for the next job, in words


class Submit(msgspec.Struct, tag_field="verb", tag="submit", frozen=True):
    """Queue a run. `recipe` is resolved (all defaults), `source` the text it came from."""

    recipe: dict[str, Any]
    source: str
    name: str  # wanted; a number is added when it is taken
    held: bool = False  # until it is released
    priority: Priority = PRIORITIES["normal"]


class SubmitAnswer(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    place: int
    held: bool = False


class Stage(msgspec.Struct, frozen=True):
    """One run of a chain. Its recipe may name another stage as a model: `stage:NAME`."""

    name: str
    recipe: dict[str, Any]


class SubmitChain(msgspec.Struct, tag_field="verb", tag="chain", frozen=True):
    """Queue the runs of a chain, each named NAME.STAGE; one starts when those that it begins from have finished."""

    name: str  # wanted; a number is added when a stage's name is taken
    stages: list[Stage]  # in an order in which each stands behind those that it begins from
    source: str
    first: str = ""  # begin at this stage, on the runs that the stages before it have made
    held: bool = False  # its first runs, until they are released
    priority: Priority = PRIORITIES["normal"]


class SubmitChainAnswer(msgspec.Struct, frozen=True):
    runs: list[SubmitAnswer]


class Resume(msgspec.Struct, tag_field="verb", tag="resume", frozen=True):
    """Queue a run to go on from one of its checkpoints (None: the newest), in the same folder."""

    run: str
    step: Whole | None = None
    recipe: dict[str, Any] | None = None  # resolved, where settings were changed
    anyway: bool = False  # also with other data, and where later checkpoints are lost


class ResumeAnswer(msgspec.Struct, frozen=True):
    run: str
    step: int  # 0: it begins anew, as there is no checkpoint
    changes: list[str]  # what was changed in the recipe, in words
    place: int


class Export(msgspec.Struct, tag_field="verb", tag="export", frozen=True):
    """Queue the writing of a run's checkpoint as one whole model (step None: the best it kept, else the newest)."""

    run: str
    to: str  # a folder that is not there yet, absolute
    step: Whole | None = None
    dtype: str = "auto"


class ExportAnswer(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    step: int


class Import(msgspec.Struct, tag_field="verb", tag="import", frozen=True):
    """Adopt a model that was made elsewhere as a run. `recipe`, `source` and `name` as in Submit."""

    recipe: dict[str, Any]
    source: str
    name: str
    path: str  # the folder that it lies in, absolute
    steps: list[Whole]  # of the checkpoints that the folder holds now
    copy: bool = False  # its weights into the home; else they are linked
    reuse: bool = False  # answer with the run that this folder was adopted as before, if there is one


class ImportAnswer(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    reused: bool


class Runs(msgspec.Struct, tag_field="verb", tag="runs", frozen=True):
    filter: str = ""  # part of the name, model, method or tag
    sort: Literal["needs_you", "newest", "name", "loss"] = "needs_you"
    offset: Whole = 0
    limit: Whole = 50


class RunsAnswer(msgspec.Struct, frozen=True):
    rows: list[RunRow]
    matching: int
    total: int
    need_you: int
    running: int
    queued: int
    revision: int
    stopped: str = ""  # why nothing starts now: "the queue is held", "quiet until 07:00"


class GetRun(msgspec.Struct, tag_field="verb", tag="run", frozen=True):
    run: str  # name or number


class Curves(msgspec.Struct, tag_field="verb", tag="curves", frozen=True):
    """Ask for charts: per key, min and max in each of `columns` equal bins of [first, last] steps.

    Without keys: the newest values of all keys in few columns, for sparklines.
    """

    run: str
    keys: list[str]
    columns: Whole
    last: Whole  # the x axis's end: the planned last step
    first: Whole = 0


class Curve(msgspec.Struct, frozen=True):
    key: str
    column: list[int]  # ascending; a bin without points is absent
    low: list[float]
    high: list[float]
    mean: list[float]
    last_step: int
    last_value: float | None
    bad: int  # values that were not finite


class CurvesAnswer(msgspec.Struct, frozen=True):
    curves: list[Curve]


class ReadLog(msgspec.Struct, tag_field="verb", tag="log", frozen=True):
    """Read a job's log by byte offset; a negative offset counts from the end."""

    run: str
    job: Whole | None = None  # None: the newest job
    offset: Large = -4096
    limit: Whole = 65536


class LogAnswer(msgspec.Struct, frozen=True):
    job: int
    text: str
    next: int  # the offset to go on from
    size: int
    gap: int = 0  # bytes in front of the text that are not kept: the log grew too long


class EventsSince(msgspec.Struct, tag_field="verb", tag="events", frozen=True):
    """Follow a run: its metrics rows and state since a revision of the store (for `tail` and `run --wait`)."""

    run: str
    after_step: Whole = -1
    limit: Whole = 1000


class StepRow(msgspec.Struct, frozen=True):
    step: int
    at: float
    values: dict[str, float | None]


class EventsAnswer(msgspec.Struct, frozen=True):
    steps: list[StepRow]
    row: RunRow
    revision: int


class Checks(msgspec.Struct, tag_field="verb", tag="checks", frozen=True):
    """The whole results of a run's checks, newest first."""

    run: str


class ChecksAnswer(msgspec.Struct, frozen=True):
    checks: list[dict[str, Any]]  # each: {"check_id", "at", "step", **result}


class Flips(msgspec.Struct, tag_field="verb", tag="flips", frozen=True):
    run: str
    check_id: Whole | None = None  # None: the newest
    task: str = ""


class FlipRow(msgspec.Struct, frozen=True):
    task: str
    item: str
    won: bool
    base_score: float
    tuned_score: float
    base_answer: str
    tuned_answer: str
    base_log_prob: float | None
    tuned_log_prob: float | None


class FlipsAnswer(msgspec.Struct, frozen=True):
    check_id: int
    flips: list[FlipRow]  # lost first


class Check(msgspec.Struct, tag_field="verb", tag="check", frozen=True):
    """Queue a check of a run's checkpoint (None: the best it kept, else the newest), ahead of queued training."""

    run: str
    step: Whole | None = None
    watch: bool = False  # a look that claims nothing, unless this step's check has a claim already
    general: dict[str, Any] = {}  # settings of check.general for this check alone: suite, margin, seed


class CheckAnswer(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    step: int


class Stop(msgspec.Struct, tag_field="verb", tag="stop", frozen=True):
    """Save a checkpoint, then exit. A queued run leaves the queue."""

    run: str


class Kill(msgspec.Struct, tag_field="verb", tag="kill", frozen=True):
    """End the whole process tree at once."""

    run: str


class Pause(msgspec.Struct, tag_field="verb", tag="pause", frozen=True):
    """Save a checkpoint, exit, and wait in the queue, held, to go on from it. A queued run is held."""

    run: str


class Retry(msgspec.Struct, tag_field="verb", tag="retry", frozen=True):
    """Queue once more what failed of a run: its training from the newest checkpoint, else its check, its export …

    A run that waits for its next try has it now.
    """

    run: str


class RetryAnswer(msgspec.Struct, frozen=True):
    run: str
    what: str  # train, check, export, import
    step: int  # 0: it begins anew
    place: int


class Queue(msgspec.Struct, tag_field="verb", tag="queue", frozen=True):
    """What waits, first to start on top."""

    limit: Whole = 200


class QueueRow(msgspec.Struct, frozen=True):
    run_id: int
    run: str
    what: str  # train, check, export, import
    step: int | None  # that it goes on from, or looks at
    method: str
    wants: str  # of the machine, in words
    priority: int  # the smaller starts first
    state: Queued
    do: str = ""  # what lets it go on, as a command
    host: str = ""  # where several machines are looked at


class QueueAnswer(msgspec.Struct, frozen=True):
    rows: list[QueueRow]
    total: int
    running: list[str]  # what runs now, in words
    stopped: str = ""  # why nothing starts now: "the queue is held", "quiet until 07:00"


class Move(msgspec.Struct, tag_field="verb", tag="move", frozen=True):
    """Put what waits of a run first in the queue, last, or before another run."""

    run: str
    to: Literal["first", "last", "before"]
    other: str = ""


class Hold(msgspec.Struct, tag_field="verb", tag="hold", frozen=True):
    """Let a waiting run not start until it is released; without a run the whole queue."""

    run: str = ""


class Release(msgspec.Struct, tag_field="verb", tag="release", frozen=True):
    """Let a held run, or the whole queue, go on."""

    run: str = ""


class Prioritise(msgspec.Struct, tag_field="verb", tag="prioritise", frozen=True):
    """Give what waits of a run a priority; in it, it stands where it came."""

    run: str
    priority: Priority


class Done(msgspec.Struct, frozen=True):
    message: str


class Remove(msgspec.Struct, tag_field="verb", tag="remove", frozen=True):
    """Move runs to the home's trash; `only_show` says what would go."""

    runs: list[str]
    only_show: bool = False


class Removed(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    size_bytes: int
    files: int
    checkpoints: int


class RemoveAnswer(msgspec.Struct, frozen=True):
    runs: list[Removed]


class Trash(msgspec.Struct, tag_field="verb", tag="trash", frozen=True):
    """What lies in the trash."""


class Trashed(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    folder: str  # below the home's trash
    at: float  # when it was removed
    size_bytes: int


class TrashAnswer(msgspec.Struct, frozen=True):
    runs: list[Trashed]  # the newest first


class Restore(msgspec.Struct, tag_field="verb", tag="restore", frozen=True):
    """Bring a run back from the trash."""

    run: str  # name or number


class EmptyTrash(msgspec.Struct, tag_field="verb", tag="empty-trash", frozen=True):
    """Remove for good what lies in the trash, of it these folders alone: those that a person has seen."""

    folders: list[str]


class Clean(msgspec.Struct, tag_field="verb", tag="clean", frozen=True):
    """What of checkpoints and caches goes by the home's settings; `keep` overrides them (see core/settings.py).

    Without `shown` nothing is touched; with it, what goes and is among these paths is taken away.
    """

    keep: dict[str, Any] = {}
    shown: list[str] | None = None


class CleanItem(msgspec.Struct, frozen=True):
    kind: str  # checkpoint, merged model, scores, data set, trash
    what: str
    path: str  # relative to the home
    size_bytes: int
    why: str


class CleanAnswer(msgspec.Struct, frozen=True):
    items: list[CleanItem]


class Sql(msgspec.Struct, tag_field="verb", tag="sql", frozen=True):
    query: str
    limit: Whole = 1000
    timeout_s: float = 10.0


class SqlAnswer(msgspec.Struct, frozen=True):
    columns: list[str]
    rows: list[list[Any]]
    cut: bool  # there were more rows than the limit


class Changes(msgspec.Struct, tag_field="verb", tag="changes", frozen=True):
    """Wait until the store is newer than `since`, or what it says of one run, or for `timeout_s`."""

    since: Large
    timeout_s: float = 20.0
    run: str = ""  # name or number; without it, of all


class ChangesAnswer(msgspec.Struct, frozen=True):
    revision: int
    trouble: str = ""  # what is wrong with the whole: "disk full", in words
    noticed: int = 0  # number of the newest notice


class Notices(msgspec.Struct, tag_field="verb", tag="notices", frozen=True):
    """What has happened that a person may want to hear of, newer than a number."""

    after: int = 0
    limit: int = 50


class NoticesAnswer(msgspec.Struct, frozen=True):
    notices: list[Notice]  # the newest first
    on: list[str] = []  # the kinds that settings.yaml asks for
    ways: list[Way] = []  # those that it asks for, and those that messages went before


class SendTest(msgspec.Struct, tag_field="verb", tag="send-test", frozen=True):
    """Send a test message by every way that settings.yaml names, and wait for what comes of it."""


class Tested(msgspec.Struct, frozen=True):
    way: str
    is_through: bool
    said: str  # by the command or the server
    seconds: float


class SendTestAnswer(msgspec.Struct, frozen=True):
    tested: list[Tested]


class Paths(msgspec.Struct, tag_field="verb", tag="paths", frozen=True):
    """Ask what lies at absolute paths on the supervisor's machine: a client elsewhere can't look itself."""

    paths: list[str]


class PathFacts(msgspec.Struct, frozen=True):
    path: str
    kind: Literal["file", "folder", "other", "none"]  # "other" can't be read, or is neither
    size: int  # bytes of a file


class PathsAnswer(msgspec.Struct, frozen=True):
    found: list[PathFacts]


class Gpus(msgspec.Struct, tag_field="verb", tag="gpus", frozen=True):
    """The GPUs of the supervisor's machine, what is on them, and who waits for them."""


class GpuJob(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    verb: str
    gib: float | None  # of a GPU's memory that it may use; None: all, or it is on none
    used_gib: float | None  # None: not told


class GpuProcess(msgspec.Struct, frozen=True):
    """A process of somebody else's; name and user are empty where this user may not know them."""

    pid: int
    name: str
    user: str
    gib: float | None


class GpuRow(msgspec.Struct, frozen=True):
    index: int
    uuid: str
    name: str
    total_gib: float
    ours_gib: float  # used by jobs of this home
    others_gib: float  # by all else
    busy: int | None  # percent
    celsius: int | None
    watts: float | None
    fault: Literal["", "lost", "failing", "unreadable"]
    trouble: str  # the fault in words
    left_out: str  # by which setting it is not used, in words
    kept_for: str  # the run that it is kept for
    jobs: list[GpuJob]
    others: list[GpuProcess]
    history: list[int | None]  # how busy it was, the newest last


class GpuWaiting(msgspec.Struct, frozen=True):
    run: str
    because: str


class GpusAnswer(msgspec.Struct, frozen=True):
    gpus: list[GpuRow]
    driver: str
    cuda: str
    trouble: str  # of the driver as a whole
    cores: int
    cpu_jobs: int  # that may run at a time
    on_cpu: list[GpuJob]
    waiting: list[GpuWaiting]  # for GPUs, or for a job to end
    column_s: float  # what one number of a history stands for
    age_s: float  # of the look


class Shutdown(msgspec.Struct, tag_field="verb", tag="shutdown", frozen=True):
    """End the supervisor. Jobs go on; the next client starts another that adopts them."""


Ask = (
    Hello
    | Submit
    | SubmitChain
    | Resume
    | Export
    | Import
    | Runs
    | GetRun
    | Curves
    | ReadLog
    | EventsSince
    | Checks
    | Flips
    | Check
    | Stop
    | Kill
    | Pause
    | Retry
    | Queue
    | Move
    | Hold
    | Release
    | Prioritise
    | Remove
    | Trash
    | Restore
    | EmptyTrash
    | Clean
    | Sql
    | Changes
    | Notices
    | SendTest
    | Paths
    | Gpus
    | Shutdown
)

ANSWERS: dict[type, type] = {
    Hello: HelloAnswer,
    Submit: SubmitAnswer,
    SubmitChain: SubmitChainAnswer,
    Resume: ResumeAnswer,
    Export: ExportAnswer,
    Import: ImportAnswer,
    Runs: RunsAnswer,
    GetRun: RunDetail,
    Curves: CurvesAnswer,
    ReadLog: LogAnswer,
    EventsSince: EventsAnswer,
    Checks: ChecksAnswer,
    Flips: FlipsAnswer,
    Check: CheckAnswer,
    Stop: Done,
    Kill: Done,
    Pause: Done,
    Retry: RetryAnswer,
    Queue: QueueAnswer,
    Move: Done,
    Hold: Done,
    Release: Done,
    Prioritise: Done,
    Remove: RemoveAnswer,
    Trash: TrashAnswer,
    Restore: Done,
    EmptyTrash: Done,
    Clean: CleanAnswer,
    Sql: SqlAnswer,
    Changes: ChangesAnswer,
    Notices: NoticesAnswer,
    SendTest: SendTestAnswer,
    Paths: PathsAnswer,
    Gpus: GpusAnswer,
    Shutdown: Done,
}

# What only looks: it may be asked again where a connection broke before the answer came.
LOOKS = (
    Hello,
    Runs,
    GetRun,
    Curves,
    ReadLog,
    EventsSince,
    Checks,
    Flips,
    Sql,
    Changes,
    Paths,
    Trash,
    Gpus,
    Queue,
    Notices,
)


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    v: Whole
    id: Large
    ask: Ask
    held: Large | None = None  # the request whose answer the client holds: what has changed since is enough


class Error(msgspec.Struct, frozen=True):
    exit: int
    message: str
    hint: str = ""


class Reply(msgspec.Struct, frozen=True):
    id: int
    answer: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None
    patch: msgspec.Raw = msgspec.Raw(
        b""
    )  # of the answer that the client holds (delta.py), in place of `answer`


request_decoder = msgspec.json.Decoder(Request)
reply_decoder = msgspec.json.Decoder(Reply)
encoder = msgspec.json.Encoder()
