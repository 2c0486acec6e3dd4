"""The session: version and host, waiting for changes, notices, test messages, shutdown."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from pathlib import Path

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol import wire
from finetop.core.protocol.messages import session as messages
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.notices import Way
from finetop.core.runtime import cgroups, ranks
from finetop.core.runtime.parts import own_version
from finetop.core.store import jobs, notices, runs, triage_states
from finetop.core.supervisor import warm_process, watch_settings
from finetop.core.supervisor.notify import body, compose, deliver
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import counted

PAGE_LIMIT = 500
TEST_S = 45.0  # a client waits for a minute


def hello(supervisor: Supervisor, ask: messages.Hello) -> messages.HelloAnswer:
    return messages.HelloAnswer(
        version=own_version(),
        protocol=wire.VERSION,
        pid=os.getpid(),
        home=str(supervisor.home.root),
        host=platform.node(),
        started=supervisor.started,
        device=device(supervisor),
        spare=warm_process.describe(supervisor),
        cpu_ranks=ranks.without_gpu(),
    )


def device(supervisor: Supervisor) -> str:
    """Return what jobs run on: '4 GPUs', else '2 CPU cores'. Before the first reading, device files are counted."""
    pool = supervisor.pool
    gpus = pool.seen.gpus if pool.newest is not None else list(Path("/dev").glob("nvidia[0-9]*"))
    return counted(len(gpus), "GPU") if gpus else counted(cgroups.cores(), "CPU core")


def shutdown(supervisor: Supervisor, ask: messages.Shutdown) -> Done:
    supervisor.ending.set()
    return Done("the supervisor ends; jobs go on.")


async def changes(supervisor: Supervisor, ask: messages.Changes) -> messages.ChangesAnswer:
    """Wait for a change that the client has not seen, of any run or of one, or for a new trouble."""
    run_id = runs.find_run(supervisor.connection, ask.run)[0] if ask.run else None
    trouble, deadline = supervisor.trouble, time.monotonic() + max(0.0, min(ask.timeout_s, 50.0))
    ending = supervisor.ending
    while _seen(supervisor, ask.since, run_id) and supervisor.trouble == trouble and not ending.is_set():
        try:
            await asyncio.wait_for(supervisor.changed.wait(), deadline - time.monotonic())
        except TimeoutError:
            break
    running, waiting = jobs.counts(supervisor.connection)
    to_triage = triage_states.to_triage(supervisor.connection)
    newest = (supervisor.revision, supervisor.trouble, supervisor.teller.newest)
    gpus, taken = supervisor.pool.seen.gpus, {share.uuid for job in supervisor.live for share in job.gpus}
    return messages.ChangesAnswer(*newest, waiting, to_triage, running, len(gpus), len(taken))


def _seen(supervisor: Supervisor, since: int, run_id: int | None) -> bool:
    """Return True if a client is up to date. The revision of an earlier supervisor counts as outdated."""
    if run_id is None:
        return since == supervisor.revision
    return supervisor.revision_of(run_id) <= since <= supervisor.revision


def list_notices(supervisor: Supervisor, ask: messages.Notices) -> messages.NoticesAnswer:
    settings = supervisor.settings.tell
    by_way = {outcome.way: outcome for outcome in notices.outcomes(supervisor.connection)}
    ways = {way: by_way.get(way, Way(way)) for way in compose.ways_of(settings)} | by_way
    limit = max(1, min(ask.limit, PAGE_LIMIT))
    newest = notices.since(supervisor.connection, ask.after, limit)
    return messages.NoticesAnswer(newest, list(settings.on), list(ways.values()))


async def send_test(supervisor: Supervisor, ask: messages.SendTest) -> messages.SendTestAnswer:
    """Send a test message by each way at once; it is not stored and not retried. Raises BadInput."""
    watch_settings.read(supervisor)
    if supervisor.settings_fault:
        raise BadInput(supervisor.settings_fault)
    own = supervisor.settings.tell
    settings = msgspec.structs.replace(own, limit_s=min(own.limit_s, TEST_S))
    ways, text = compose.ways_of(settings), body.test_message(supervisor.home.root, time.time())

    async def one(way: str) -> messages.Tested:
        began = time.monotonic()
        is_through, answer = await deliver.send(settings, way, text)
        return messages.Tested(way, is_through, answer, time.monotonic() - began)

    return messages.SendTestAnswer(list(await asyncio.gather(*(one(way) for way in ways))))


ANSWERS = {
    messages.Hello: hello,
    messages.Changes: changes,
    messages.Notices: list_notices,
    messages.SendTest: send_test,
    messages.Shutdown: shutdown,
}
