"""Open chats: they make room for a job that could start without them, and wait in no queue once nobody reads."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from finetop.core.features.chat import transcript as files
from finetop.core.features.chat.sides import KEY_VARIABLE
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.launchers.ask_job import ask
from finetop.core.supervisor.requests.stop_pause_kill import remove_from_queue
from finetop.core.supervisor.state import Supervisor

NOTICE_S = 60.0  # between the announcement that a chat makes room and its end


async def update(supervisor: Supervisor) -> None:
    """Announce that chats make room, end those whose time is over, and drop waiting ones that nobody reads."""
    drop_unread(supervisor)
    in_the_way = supervisor.pool.in_the_way
    for job in supervisor.live:
        if in_the_way is not None and is_chat(job) and not job.asked:
            await make_room(supervisor, job, in_the_way.get(job.id, ""))
    if supervisor.seen != supervisor.revision:
        return  # a chat that was just opened is in neither list
    known = {job.id for job in (*supervisor.live, *supervisor.queued)}
    for by_job in (supervisor.chats.keys, supervisor.chats.read_at, supervisor.chats.ends_at):
        for ended in [job_id for job_id in by_job if job_id not in known]:
            del by_job[ended]


def is_chat(job: Job) -> bool:
    """Return True for a job whose transcript, readers and keys are this module's."""
    # A feature knows its own kind by name: no fact of a kind stands for its transcript.
    return job.verb == "chat"


async def make_room(supervisor: Supervisor, job: Job, name: str) -> None:
    """Announce, withdraw or carry out the end of a chat for a run of this name; empty: for none."""
    announced, folder = supervisor.chats.ends_at, supervisor.home.root / job.folder
    if job.id not in announced:
        announced[job.id] = await aside(partial(last_announced, folder))  # by an earlier supervisor
    ends_at, now = announced[job.id], time.time()
    if name and not ends_at:
        line = files.MakeRoom(f"{name} needs the GPU: this chat makes room.", now + NOTICE_S)
    elif not name and ends_at:
        line = files.MakeRoom("nothing needs the GPU any more: this chat goes on.")
    else:
        if name and now >= ends_at:
            with transaction(supervisor.connection):
                ask(supervisor.connection, job, "stop")
            supervisor.touch()
        return
    async with supervisor.chats.turn:
        await aside(partial(files.append_ask, folder, line))
    announced[job.id] = line.ends_at


def last_announced(folder: Path) -> float:
    """Return when a chat was said to make room; 0 if it was not, or that was withdrawn."""
    lines, _ = files.read_asks(folder)
    return next((line.ends_at for line in reversed(lines) if isinstance(line, files.MakeRoom)), 0.0)


def drop_unread(supervisor: Supervisor) -> None:
    """Remove chats from the queue that nobody has read for as long as a running one would go on."""
    now = time.monotonic()
    for job in supervisor.queued:
        if not is_chat(job):
            continue
        if now - supervisor.chats.read_at.setdefault(job.id, now) > files.ABSENT_S:
            with transaction(supervisor.connection):
                remove_from_queue(supervisor.connection, job)
            supervisor.touch()


def environment(supervisor: Supervisor, job: Job) -> dict[str, str]:
    """Return the keys of a chat's endpoints as variables of its process."""
    if not is_chat(job):
        return {}
    variables = {}
    given = supervisor.chats.keys.get(job.id, {})
    for place, side in enumerate(files.sides_of(job.args)):
        key = given.get(place) or os.environ.get(side.side.key_env or "", "")
        if key:
            variables[f"{KEY_VARIABLE}{place}"] = key
    return variables
