"""What clients and the supervisor say to each other: one JSON object a line over the home's Unix socket.

    -> {"v": 1, "id": 7, "ask": {"verb": "runs", "limit": 50}}
    <- {"id": 7, "answer": {…}}   or   {"id": 7, "error": {"exit": 2, "message": …, "hint": …}}

Over a slow link an answer may come as what has changed since an earlier one: see held.py.
Each request is a type below and each has one answer type (`ANSWERS`). Requests on one connection are answered
in order, except `changes`, which waits; so a client that waits for changes opens a connection of its own.
"""

from __future__ import annotations

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
from finetop.core.protocol.request import Ask as Ask
from finetop.core.protocol.wire import (
    ANSWER_LIMIT as ANSWER_LIMIT,
    REQUEST_LIMIT as REQUEST_LIMIT,
    VERSION as VERSION,
    Envelope as Envelope,
    Error as Error,
    Reply as Reply,
    encoder as encoder,
    reply_decoder as reply_decoder,
)
