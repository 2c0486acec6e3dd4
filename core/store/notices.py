"""Notices in the store: events that a user may want to hear of, kept until they were sent.

A notice is written in the transaction of its alarm or ending, and marked `told` in the one that writes its messages,
so a supervisor that is killed in between finds it again. Messages are retried until they are delivered or given up; one
whose sender was killed is retried under the same id.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from finetop.core.protocol import job_kinds, runs as data
from finetop.core.protocol.notices import Notice, Way
from finetop.core.store.database import append, one_value, read_as
from finetop.core.wording.endings import state_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection as Connection

KEPT = 1000  # notices and messages that were sent
TEXT = 1000  # characters


class New(NamedTuple):
    """A notice that has no id yet."""

    run_id: int
    kind: str
    step: int | None
    text: str
    at: float


def add(connection: Connection, new: Sequence[New]) -> None:
    """Write notices inside the transaction of their events."""
    first = max(newest(connection), int(time.time() * 1e6)) + 1
    rows = [
        (number, notice.run_id, notice.kind[:100], notice.step, notice.text[:TEXT], notice.at, False)
        for number, notice in enumerate(new, first)
    ]
    append(connection, "notices", rows)


def add_ending(connection: Connection, job_id: int, state: data.State) -> None:
    """Write a notice that a job has ended, if it made a run or failed."""
    if not isinstance(state, data.Finished | data.Stopped | data.Failed | data.Lost):
        return
    query = "SELECT j.run_id, j.verb, r.step FROM jobs j JOIN runs r ON r.id = j.run_id WHERE j.id = ?"
    row = connection.execute(query, [job_id]).fetchone()
    if row is None or not job_kinds.of(row[1]).retries:  # whoever chats sees its end
        return
    run_id, verb, step = row
    kind, is_whole = data.word(state), job_kinds.of(verb).makes_a_run
    if isinstance(state, data.Failed | data.Lost):
        text = f"{state.cause} {state.hint}".strip() if isinstance(state, data.Failed) else state.cause
        text = text if is_whole else f"its {verb}: {text}"
    elif not is_whole or (isinstance(state, data.Stopped) and state.how in ("pause", "cancel")):
        return
    else:
        ending = "" if isinstance(state, data.Finished) else state_word(state)
        text = f"{ending} {state.cause}".strip() or kind
    add(connection, [New(run_id, kind, step, text, state.ended)])


def newest(connection: Connection) -> int:
    """Return the highest id of a notice; 0 before the first."""
    return int(one_value(connection, "SELECT coalesce(max(id), 0) FROM notices"))


def since(connection: Connection, after: int, limit: int) -> list[Notice]:
    """List notices with an id above `after`, newest first."""
    newer = (
        "SELECT n.id, n.run_id, coalesce(r.name, ''), n.kind, n.step, n.text, n.time FROM notices n"
        " LEFT JOIN runs r ON r.id = n.run_id WHERE (n.run_id = 0 OR r.id IS NOT NULL) AND n.id > ?"
        " ORDER BY n.id DESC LIMIT ?"
    )
    return read_as(connection, Notice, newer, [after, limit])


class Group(NamedTuple):
    """Unsent notices of one run and kind: the newest, and the number of older ones."""

    newest: Notice
    more: int


def untold(connection: Connection) -> list[Group]:
    """List unsent notices by run and kind, in the order of their first notice."""
    rows = connection.execute(
        "SELECT max(n.id), n.run_id, coalesce(any_value(r.name), ''), n.kind, arg_max(n.step, n.id),"
        " arg_max(n.text, n.id), arg_max(n.time, n.id), count(*) - 1 FROM notices n"
        " LEFT JOIN runs r ON r.id = n.run_id WHERE NOT n.told GROUP BY n.run_id, n.kind ORDER BY min(n.id)"
    ).fetchall()
    return [Group(Notice(*row[:7]), row[7]) for row in rows]


def mark_told(connection: Connection, groups: Sequence[Group]) -> None:
    """Mark notices as `told` (sent or not wanted) inside the transaction of their messages; delete old ones."""
    newest = [group.newest for group in groups]
    connection.execute(
        "UPDATE notices SET told = true FROM (SELECT unnest(?::INTEGER[]) AS run_id, unnest(?::VARCHAR[]) AS kind,"
        " unnest(?::BIGINT[]) AS id) g WHERE NOT told AND notices.run_id = g.run_id AND notices.kind = g.kind"
        " AND notices.id <= g.id",
        [[getattr(notice, key) for notice in newest] for key in ("run_id", "kind", "id")],
    )
    for table, is_done in (("notices", "told"), ("messages", "outcome IS NOT NULL")):
        connection.execute(
            f"DELETE FROM {table} WHERE {is_done} AND id < (SELECT coalesce(min(id), 0) FROM"
            f" (SELECT id FROM {table} WHERE {is_done} ORDER BY id DESC LIMIT {KEPT}))"
        )


class Message(NamedTuple):
    """A message to be sent by one way."""

    id: int
    way: str
    run_id: int
    kind: str
    body: str
    made: float
    due: float
    tries: int


def add_messages(connection: Connection, messages: Sequence[Message]) -> None:
    """Write messages inside the transaction that marks their notices."""
    append(connection, "messages", [(*message, None) for message in messages])


def last_made(connection: Connection) -> dict[tuple[int, str], float]:
    """Return when the last message of each run and kind was made."""
    rows = connection.execute("SELECT run_id, kind, max(made) FROM messages GROUP BY ALL").fetchall()
    return {(run_id, kind): moment for run_id, kind, moment in rows}


def made_since(connection: Connection, moment: float) -> list[float]:
    """List when messages were made since a moment, oldest first; a message sent by two ways counts once."""
    query = "SELECT any_value(made) FROM messages WHERE made > ? GROUP BY id ORDER BY 1"
    return read_as(connection, float, query, [moment])


def due(connection: Connection, way: str) -> Message | None:
    """Return the next message to be tried by a way, whenever it is due."""
    condition = "outcome IS NULL AND way = ? ORDER BY due, id LIMIT 1"
    query = f"SELECT {', '.join(Message._fields)} FROM messages WHERE {condition}"
    return next(iter(read_as(connection, Message, query, [way])), None)


def tried(connection: Connection, message: Message, due_at: float) -> None:
    """Count a try before it is made; if the supervisor is killed during it, it is repeated at `due_at`."""
    _set(connection, message, "tries = tries + 1, due = ?", due_at)


def wait(connection: Connection, message: Message, due_at: float) -> None:
    """Set when an undelivered message is retried."""
    _set(connection, message, "due = ?", due_at)


def give_up_old(connection: Connection, before: float) -> None:
    """Give up messages made before a moment, whose way is no longer configured or never works."""
    old = "outcome IS NULL AND made < ?"
    connection.execute(f"UPDATE messages SET outcome = 'it waited for too long' WHERE {old}", [before])


def settle(connection: Connection, message: Message, outcome: str) -> None:
    """Record that a message was delivered (''), or why it was given up."""
    _set(connection, message, "outcome = ?", outcome)


def _set(connection: Connection, message: Message, what: str, value: float | str) -> None:
    values = [value, message.id, message.way]
    connection.execute(f"UPDATE messages SET {what} WHERE id = ? AND way = ?", values)


def outcomes(connection: Connection) -> list[Way]:
    """Return for each way how many messages wait, were delivered and were given up, and the last error."""
    by_way = (
        "SELECT way, count(*) FILTER (outcome IS NULL), count(*) FILTER (outcome = ''),"
        " count(*) FILTER (outcome <> ''), coalesce(arg_max(outcome, id) FILTER (outcome <> ''), '')"
        " FROM messages GROUP BY way ORDER BY way"
    )
    return read_as(connection, Way, by_way)
