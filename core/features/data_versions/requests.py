"""Answers questions about data versions: which were seen, how a run's differ from earlier ones and from another run's.

Rows are compared in a separate process (core/features/data_versions): a file of a million takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from finetop.core.data.row_hashes import file_of
from finetop.core.errors import EnvironmentTrouble
from finetop.core.features.data_versions import messages, sql as data_versions
from finetop.core.protocol.data_diff import Asked, Found, Pair, SourceRow
from finetop.core.runtime import child
from finetop.core.store import runs
from finetop.core.supervisor.state import Supervisor

_Paired = tuple[SourceRow | None, SourceRow | None]

PAGE_LIMIT = 500
RUNS_NAMED = 20  # of those that read a version
EXAMPLES = 20
LIMIT_S = 40.0  # a client waits for a minute


async def listing(supervisor: Supervisor, ask: messages.DataVersions) -> messages.DataVersionsAnswer:
    """List the versions seen, in a thread: with 100,000 runs it takes 170 ms."""
    limit = max(1, min(ask.limit, PAGE_LIMIT))
    cursor = supervisor.connection.cursor()
    versions, total = await asyncio.to_thread(data_versions.listing, cursor, ask.path, limit, RUNS_NAMED)
    return messages.DataVersionsAnswer(versions, total)


async def of_run(supervisor: Supervisor, ask: messages.DataOf) -> messages.DataOfAnswer:
    """Compare each source of a run with its previous version and its file on disk now. Raises NotFound."""
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    rows = data_versions.of_run(connection, run_id)
    before = [data_versions.previous_version(connection, row) for row in rows]
    pairs = [
        Pair([_hash_files(supervisor, previous[1])], [_hash_files(supervisor, row.content)])
        for row, previous in zip(rows, before, strict=True)
        if previous is not None
    ]
    files = [row for row in rows if row.written is not None]
    reply = await _compare(Asked(str(supervisor.home.root), pairs, files)) if rows else Found([], [])
    differences, now = iter(reply.pairs), iter(reply.files)
    facts = []
    for row, previous in zip(rows, before, strict=True):
        number, _, run = previous or (0, "", "")
        difference = next(differences) if previous is not None else None
        file = next(now) if row.written is not None else None
        now_number = 0 if file is None else data_versions.number_of(connection, row, file.content)
        facts.append(messages.SourceFacts(row, number, run, difference, file, now_number))
    return messages.DataOfAnswer(name, facts)


async def differ(supervisor: Supervisor, ask: messages.DataDiffer) -> messages.DataDifferAnswer:
    """Compare the data of two runs, source by source and as a whole. Raises NotFound."""
    connection = supervisor.connection
    (run_id, run), (other_id, other) = (runs.find_run(connection, source) for source in (ask.run, ask.other))
    rows_here, rows_other = (data_versions.of_run(connection, source) for source in (run_id, other_id))
    unknown = [name for name, rows in ((run, rows_here), (other, rows_other)) if not rows]
    if unknown:
        return messages.DataDifferAnswer(run, other, [], None, unknown)
    together = _paired(rows_here, rows_other)
    examples = max(0, min(ask.examples, EXAMPLES))
    pairs = [
        _pair(supervisor, [source], [counterpart], examples)
        for source, counterpart in together
        if source is not None and counterpart is not None
    ]
    trained = [[row for row in rows if row.use in ("train", "replay")] for rows in (rows_here, rows_other)]
    if has_whole := any(len(rows) > 1 for rows in trained):
        pairs.append(_pair(supervisor, trained[0], trained[1], 0))
    reply = await _compare(Asked(str(supervisor.home.root), pairs))
    differences = iter(reply.pairs)
    source_pairs = [
        messages.SourcePair(source, counterpart, next(differences) if source and counterpart else None)
        for source, counterpart in together
    ]
    return messages.DataDifferAnswer(run, other, source_pairs, next(differences) if has_whole else None)


def _pair(
    supervisor: Supervisor, first: Sequence[SourceRow], second: Sequence[SourceRow], examples: int
) -> Pair:
    files = dict.fromkeys(row.path for row in (*first, *second) if row.written is not None)
    hashes, others = ([_hash_files(supervisor, row.content) for row in rows] for rows in (first, second))
    return Pair(hashes, others, list(files), examples)


def _hash_files(supervisor: Supervisor, content: str) -> list[str]:
    """List the files that may hold a content's hashes: in the folder of any run that read it."""
    folders = data_versions.folders_with(supervisor.connection, content)
    files = (file_of(supervisor.home.root / folder, content) for folder in folders)
    return [str(file) for file in files if file is not None]


async def _compare(asked: Asked) -> Found:
    """Run the comparison in a separate process. Raises EnvironmentTrouble."""
    try:
        async with asyncio.timeout(LIMIT_S):
            answer = await child.answer(
                "finetop.core.features.data_versions", asked=msgspec.json.encode(asked)
            )
    except TimeoutError as late:
        message = f"comparing the rows took longer than {LIMIT_S:.0f} s."
        raise EnvironmentTrouble(message, hint="Try again when the disk is free.") from late
    if answer.code:
        raise EnvironmentTrouble(f"the rows could not be compared: {answer.last_error}")
    return msgspec.json.decode(answer.output, type=Found)


def _paired(ones: Sequence[SourceRow], others: Sequence[SourceRow]) -> list[_Paired]:
    """Pair two runs' sources, in the first's order: same file, content or name, else any left; None: no counterpart."""
    unpaired, free = list(ones), list(others)
    pairs: list[_Paired] = []
    same: tuple[Callable[[SourceRow], object], ...] = (
        lambda row: (row.path, row.part, row.use),
        lambda row: (row.content, row.use),
        lambda row: (row.source, row.use),
        lambda row: row.use,
    )
    for key in same:
        for source in list(unpaired):
            counterpart = next((other for other in free if key(other) == key(source)), None)
            if counterpart is not None:
                pairs.append((source, counterpart))
                unpaired.remove(source)
                free.remove(counterpart)
    order = {id(source): at for at, source in enumerate(ones)}
    pairs.sort(key=lambda pair: order[id(pair[0])])
    return [*pairs, *((source, None) for source in unpaired), *((None, other) for other in free)]


ANSWERS = {messages.DataVersions: listing, messages.DataOf: of_run, messages.DataDiffer: differ}
