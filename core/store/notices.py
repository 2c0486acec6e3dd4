"""Notices in the store: what a person may want to hear of, written with what it tells of, until it is told.

A notice is written in the transaction of its alarm or ending, and marked as told in the one that writes the messages
made of it: a supervisor that is killed in between finds it again. Messages are tried until they are through or given
up; one whose sender was killed is tried again under the same number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from finetop.core.protocol import runs as data
from finetop.core.protocol.notices import Notice, Way
from finetop.core.wording.endings import state_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection as Connection

KEPT = 1000  # notices and messages that were told
TEXT = 1000  # characters


class New(NamedTuple):
    """A notice that has no number yet."""

    run_id: int
    kind: str
    step: int | None
    text: str
    at: float


def add(connection: Connection, new: Sequence[New]) -> None:
    """Write notices, inside of the transaction of what they tell of."""
    if not new:
        return
    first = max(newest(connection), int(time.time() * 1e6)) + 1
    rows = [
        (number, one.run_id, one.kind[:100], one.step, one.text[:TEXT], one.at, False)
        for number, one in enumerate(new, first)
    ]
    with connection.appender("notices") as appender:
        appender.append_rows(rows)


def add_ending(connection: Connection, job_id: int, state: data.State) -> None:
    """Write that a job has ended, where a person may want to know: that of a run, and what failed beside it."""
    if not isinstance(state, data.Finished | data.Stopped | data.Failed | data.Lost):
        return
    found = connection.execute(
        "SELECT j.run_id, j.verb, r.step FROM jobs j JOIN runs r ON r.id = j.run_id WHERE j.id = ?", [job_id]
    ).fetchone()
    if found is None:
        return
    run_id, verb, step = found
    kind, is_whole = data.word(state), verb in data.MAKES_A_RUN
    if isinstance(state, data.Failed | data.Lost):
        text = f"{state.cause} {state.hint}".strip() if isinstance(state, data.Failed) else state.cause
        text = text if is_whole else f"its {verb}: {text}"
    elif not is_whole or (isinstance(state, data.Stopped) and state.how in ("pause", "cancel")):
        return
    else:
        how = "" if isinstance(state, data.Finished) else state_word(state)
        text = f"{how} {state.cause}".strip() or kind
    add(connection, [New(run_id, kind, step, text, state.ended)])


def newest(connection: Connection) -> int:
    """Return the highest number of a notice; 0 before the first."""
    ((number,),) = connection.execute("SELECT coalesce(max(id), 0) FROM notices").fetchall()
    return int(number)


def since(connection: Connection, after: int, limit: int) -> list[Notice]:
    """List notices newer than a number, the newest first."""
    found = connection.execute(
        "SELECT n.id, n.run_id, coalesce(r.name, ''), n.kind, n.step, n.text, n.time FROM notices n"
        " LEFT JOIN runs r ON r.id = n.run_id WHERE (n.run_id = 0 OR r.id IS NOT NULL) AND n.id > ?"
        " ORDER BY n.id DESC LIMIT ?",
        [after, limit],
    ).fetchall()
    return [Notice(*row) for row in found]


class Group(NamedTuple):
    """What was not told yet of one run and kind: the newest notice, and how many there are before it."""

    newest: Notice
    more: int


def untold(connection: Connection) -> list[Group]:
    """List what was not told yet by run and kind, in the order in which it began."""
    found = connection.execute(
        "SELECT max(n.id), n.run_id, coalesce(any_value(r.name), ''), n.kind, arg_max(n.step, n.id),"
        " arg_max(n.text, n.id), arg_max(n.time, n.id), count(*) - 1 FROM notices n"
        " LEFT JOIN runs r ON r.id = n.run_id WHERE NOT n.told GROUP BY n.run_id, n.kind ORDER BY min(n.id)"
    ).fetchall()
    return [Group(Notice(*row[:7]), row[7]) for row in found]


def mark_told(connection: Connection, groups: Sequence[Group]) -> None:
    """Mark notices as told, or as of no interest, inside of the transaction of their messages; old ones go."""
    newest = [group.newest for group in groups]
    connection.execute(
        "UPDATE notices SET told = true FROM (SELECT unnest(?::INTEGER[]) AS run_id, unnest(?::VARCHAR[]) AS kind,"
        " unnest(?::BIGINT[]) AS id) g WHERE NOT told AND notices.run_id = g.run_id AND notices.kind = g.kind"
        " AND notices.id <= g.id",
        [[one.run_id for one in newest], [one.kind for one in newest], [one.id for one in newest]],
    )
    for table, is_done in (("notices", "told"), ("messages", "outcome IS NOT NULL")):
        connection.execute(
            f"DELETE FROM {table} WHERE {is_done} AND id < (SELECT coalesce(min(id), 0) FROM"
            f" (SELECT id FROM {table} WHERE {is_done} ORDER BY id DESC LIMIT {KEPT}))"
        )


class Message(NamedTuple):
    """What is to be sent on, by one way."""

    id: int
    way: str
    run_id: int
    kind: str
    body: str
    made: float
    due: float
    tries: int


def add_messages(connection: Connection, messages: Sequence[Message]) -> None:
    """Write messages, inside of the transaction that marks their notices."""
    if messages:
        with connection.appender("messages") as appender:
            appender.append_rows([(*message, None) for message in messages])


def last_made(connection: Connection) -> dict[tuple[int, str], float]:
    """Say when there was last a message of each run and kind."""
    found = connection.execute("SELECT run_id, kind, max(made) FROM messages GROUP BY ALL").fetchall()
    return {(run_id, kind): made for run_id, kind, made in found}


def made_since(connection: Connection, moment: float) -> list[float]:
    """List when messages were made since a moment, the oldest first; one that goes two ways is one."""
    found = connection.execute(
        "SELECT any_value(made) FROM messages WHERE made > ? GROUP BY id ORDER BY 1", [moment]
    ).fetchall()
    return [made for (made,) in found]


def due(connection: Connection, way: str) -> Message | None:
    """Return the message that is to be tried next by a way, whenever that is: the one that is due first."""
    found = connection.execute(
        "SELECT id, way, run_id, kind, body, made, due, tries FROM messages WHERE outcome IS NULL AND way = ?"
        " ORDER BY due, id LIMIT 1",
        [way],
    ).fetchone()
    return None if found is None else Message(*found)


def tried(connection: Connection, message: Message, due_at: float) -> None:
    """Count a try before it is made: one whose supervisor is killed over it is made again at that time."""
    connection.execute(
        "UPDATE messages SET tries = tries + 1, due = ? WHERE id = ? AND way = ?",
        [due_at, message.id, message.way],
    )


def wait(connection: Connection, message: Message, due_at: float) -> None:
    """Set when a message is tried again that did not get through."""
    connection.execute(
        "UPDATE messages SET due = ? WHERE id = ? AND way = ?", [due_at, message.id, message.way]
    )


def give_up_old(connection: Connection, before: float) -> None:
    """Give up messages that were made before some moment, by a way that is asked for no more or never works."""
    connection.execute(
        "UPDATE messages SET outcome = 'it waited for too long' WHERE outcome IS NULL AND made < ?", [before]
    )


def settle(connection: Connection, message: Message, outcome: str) -> None:
    """Write that a message is through (''), or why it was given up."""
    connection.execute(
        "UPDATE messages SET outcome = ? WHERE id = ? AND way = ?", [outcome, message.id, message.way]
    )


def outcomes(connection: Connection) -> list[Way]:
    """Say of each way how many messages wait, went through and were given up, and why the last of those."""
    found = connection.execute(
        "SELECT way, count(*) FILTER (outcome IS NULL), count(*) FILTER (outcome = ''),"
        " count(*) FILTER (outcome <> ''), coalesce(arg_max(outcome, id) FILTER (outcome <> ''), '')"
        " FROM messages GROUP BY way ORDER BY way"
    ).fetchall()
    return [Way(*row) for row in found]
