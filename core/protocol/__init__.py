"""What clients and the supervisor say to each other: one JSON object a line over the home's Unix socket.

    -> {"v": 1, "id": 7, "ask": {"verb": "runs", "limit": 50}}
    <- {"id": 7, "answer": {…}}   or   {"id": 7, "error": {"exit": 2, "message": …, "hint": …}}

Over a slow link an answer may come as what has changed since an earlier one: see held.py.
Each request is a type below and each has one answer type (`ANSWERS`). Requests on one connection are answered
in order, except `changes`, which waits; so a client that waits for changes opens a connection of its own.
"""

from __future__ import annotations

import msgspec

from finetop.core.protocol.messages.approaches import (
    Advice as Advice,
    Approaches as Approaches,
    ApproachesAnswer as ApproachesAnswer,
    ApproachRow as ApproachRow,
    ApproachRun as ApproachRun,
    ComparisonBrief as ComparisonBrief,
    Gap as Gap,
    News as News,
    QueuedApproach as QueuedApproach,
    Retained as Retained,
    RunBrief as RunBrief,
    Score as Score,
    SubmitApproaches as SubmitApproaches,
    SubmitApproachesAnswer as SubmitApproachesAnswer,
)
from finetop.core.protocol.messages.checks import (
    Check as Check,
    CheckAnswer as CheckAnswer,
    Checks as Checks,
    ChecksAnswer as ChecksAnswer,
    Flips as Flips,
    FlipsAnswer as FlipsAnswer,
)
from finetop.core.protocol.messages.data_versions import (
    DataDiffer as DataDiffer,
    DataDifferAnswer as DataDifferAnswer,
    DataOf as DataOf,
    DataOfAnswer as DataOfAnswer,
    DataVersion as DataVersion,
    DataVersions as DataVersions,
    DataVersionsAnswer as DataVersionsAnswer,
    SourceFacts as SourceFacts,
    SourcePair as SourcePair,
)
from finetop.core.protocol.messages.limits import (
    Done as Done,
    Large as Large,
    Priority as Priority,
    Whole as Whole,
)
from finetop.core.protocol.messages.machine import (
    GpuJob as GpuJob,
    GpuProcess as GpuProcess,
    GpuRow as GpuRow,
    Gpus as Gpus,
    GpusAnswer as GpusAnswer,
    GpuWaiting as GpuWaiting,
    LookAhead as LookAhead,
    LookAheadAnswer as LookAheadAnswer,
    PathFacts as PathFacts,
    Paths as Paths,
    PathsAnswer as PathsAnswer,
)
from finetop.core.protocol.messages.notes import (
    Note as Note,
    NoteAnswer as NoteAnswer,
    Tag as Tag,
    TagAnswer as TagAnswer,
)
from finetop.core.protocol.messages.queue import (
    Hold as Hold,
    Kill as Kill,
    LiveRow as LiveRow,
    Move as Move,
    Pause as Pause,
    Prioritise as Prioritise,
    Queue as Queue,
    QueueAnswer as QueueAnswer,
    QueueRow as QueueRow,
    Release as Release,
    Retry as Retry,
    RetryAnswer as RetryAnswer,
    Stop as Stop,
)
from finetop.core.protocol.messages.remedies import (
    Remedies as Remedies,
    RemediesAnswer as RemediesAnswer,
    Remedy as Remedy,
    RemedyAnswer as RemedyAnswer,
    RetrainingRow as RetrainingRow,
)
from finetop.core.protocol.messages.runs import (
    Across as Across,
    Curve as Curve,
    Curves as Curves,
    CurvesAnswer as CurvesAnswer,
    EventsAnswer as EventsAnswer,
    EventsSince as EventsSince,
    FindInLog as FindInLog,
    FoundInLog as FoundInLog,
    GetRun as GetRun,
    Group as Group,
    LogAnswer as LogAnswer,
    Processes as Processes,
    ProcessesAnswer as ProcessesAnswer,
    ProcessRow as ProcessRow,
    ReadLog as ReadLog,
    Runs as Runs,
    RunsAnswer as RunsAnswer,
    Sql as Sql,
    SqlAnswer as SqlAnswer,
    StepRow as StepRow,
    SweepBrief as SweepBrief,
    Sweeps as Sweeps,
    SweepsAnswer as SweepsAnswer,
    SweptRun as SweptRun,
)
from finetop.core.protocol.messages.session import (
    Changes as Changes,
    ChangesAnswer as ChangesAnswer,
    Hello as Hello,
    HelloAnswer as HelloAnswer,
    Notices as Notices,
    NoticesAnswer as NoticesAnswer,
    SendTest as SendTest,
    SendTestAnswer as SendTestAnswer,
    Shutdown as Shutdown,
    Tested as Tested,
)
from finetop.core.protocol.messages.submit import (
    Export as Export,
    ExportAnswer as ExportAnswer,
    Import as Import,
    ImportAnswer as ImportAnswer,
    Resume as Resume,
    ResumeAnswer as ResumeAnswer,
    Stage as Stage,
    Submit as Submit,
    SubmitAnswer as SubmitAnswer,
    SubmitChain as SubmitChain,
    SubmitChainAnswer as SubmitChainAnswer,
    SubmitSweep as SubmitSweep,
    SubmitSweepAnswer as SubmitSweepAnswer,
    SweepRun as SweepRun,
)
from finetop.core.protocol.messages.trash import (
    Clean as Clean,
    CleanAnswer as CleanAnswer,
    CleanItem as CleanItem,
    EmptyTrash as EmptyTrash,
    Remove as Remove,
    RemoveAnswer as RemoveAnswer,
    Removed as Removed,
    Restore as Restore,
    Trash as Trash,
    TrashAnswer as TrashAnswer,
    Trashed as Trashed,
)
from finetop.core.protocol.messages.triage import (
    CellAnswer as CellAnswer,
    CurvePoint as CurvePoint,
    Earlier as Earlier,
    EarlierAnswer as EarlierAnswer,
    ItemAnswer as ItemAnswer,
    ItemKind as ItemKind,
    LookAtCell as LookAtCell,
    LookAtItem as LookAtItem,
    LookEarlier as LookEarlier,
    LookEarlierAnswer as LookEarlierAnswer,
    LostItems as LostItems,
    LostItemsAnswer as LostItemsAnswer,
    SetStanding as SetStanding,
    SetStandingAnswer as SetStandingAnswer,
    Standing as Standing,
    StandingState as StandingState,
    TaskFacts as TaskFacts,
    Triage as Triage,
    TriageAnswer as TriageAnswer,
    TriageCell as TriageCell,
    TriageRow as TriageRow,
    TriageRun as TriageRun,
    TriageRunAnswer as TriageRunAnswer,
)
from finetop.core.protocol.runs import RunDetail

VERSION = 1
REQUEST_LIMIT = 4 << 20  # bytes of one request
ANSWER_LIMIT = 16 << 20

Ask = (
    Hello
    | Submit
    | SubmitChain
    | SubmitSweep
    | Sweeps
    | SubmitApproaches
    | Approaches
    | Resume
    | Export
    | Import
    | Runs
    | GetRun
    | Curves
    | ReadLog
    | FindInLog
    | Processes
    | EventsSince
    | Checks
    | Flips
    | Check
    | Remedies
    | Remedy
    | Stop
    | Kill
    | Pause
    | Retry
    | Queue
    | Move
    | Hold
    | Release
    | Prioritise
    | Tag
    | Note
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
    | LookAhead
    | Gpus
    | Triage
    | TriageRun
    | LookAtCell
    | LostItems
    | LookAtItem
    | SetStanding
    | Earlier
    | LookEarlier
    | DataVersions
    | DataOf
    | DataDiffer
    | Shutdown
)

ANSWERS: dict[type, type] = {
    Hello: HelloAnswer,
    Submit: SubmitAnswer,
    SubmitChain: SubmitChainAnswer,
    SubmitSweep: SubmitSweepAnswer,
    Sweeps: SweepsAnswer,
    SubmitApproaches: SubmitApproachesAnswer,
    Approaches: ApproachesAnswer,
    Resume: ResumeAnswer,
    Export: ExportAnswer,
    Import: ImportAnswer,
    Runs: RunsAnswer,
    GetRun: RunDetail,
    Curves: CurvesAnswer,
    ReadLog: LogAnswer,
    FindInLog: FoundInLog,
    Processes: ProcessesAnswer,
    EventsSince: EventsAnswer,
    Checks: ChecksAnswer,
    Flips: FlipsAnswer,
    Check: CheckAnswer,
    Remedies: RemediesAnswer,
    Remedy: RemedyAnswer,
    Stop: Done,
    Kill: Done,
    Pause: Done,
    Retry: RetryAnswer,
    Queue: QueueAnswer,
    Move: Done,
    Hold: Done,
    Release: Done,
    Prioritise: Done,
    Tag: TagAnswer,
    Note: NoteAnswer,
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
    LookAhead: LookAheadAnswer,
    Gpus: GpusAnswer,
    Triage: TriageAnswer,
    TriageRun: TriageRunAnswer,
    LookAtCell: CellAnswer,
    LostItems: LostItemsAnswer,
    LookAtItem: ItemAnswer,
    SetStanding: SetStandingAnswer,
    Earlier: EarlierAnswer,
    LookEarlier: LookEarlierAnswer,
    DataVersions: DataVersionsAnswer,
    DataOf: DataOfAnswer,
    DataDiffer: DataDifferAnswer,
    Shutdown: Done,
}

# What only looks: it may be asked again where a connection broke before the answer came.
LOOKS = (
    Hello,
    Runs,
    GetRun,
    Curves,
    ReadLog,
    FindInLog,
    Processes,
    EventsSince,
    Checks,
    Flips,
    Remedies,
    Sql,
    Changes,
    Paths,
    LookAhead,
    Trash,
    Gpus,
    Queue,
    Notices,
    Sweeps,
    Approaches,
    Triage,
    TriageRun,
    LookAtCell,
    LostItems,
    LookAtItem,
    DataVersions,
    DataOf,
    DataDiffer,
    Earlier,
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
