"""Turns notices into messages: filtered by the settings, rate-limited per run and kind, floods combined into one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetop.core.protocol.notices import MANY
from finetop.core.recipe import quiet_hours
from finetop.core.recipe.home_settings import Tell
from finetop.core.runtime.crash_points import abort_at
from finetop.core.store import notices
from finetop.core.store.database import transaction
from finetop.core.store.notices import Group, Message
from finetop.core.supervisor.notify import body
from finetop.core.supervisor.state import Supervisor
from finetop.core.train import alarms

MOST, IN_S = 10, 60.0  # messages in this many seconds; more are combined into one
WAYS = ("command", "webhook")
OLD_S = 86_400.0  # after this long, an undelivered message is given up


def ways_of(settings: Tell) -> list[str]:
    """List the ways that the settings name."""
    return [way for way in WAYS if getattr(settings, way) is not None]


def gather(supervisor: Supervisor, now: float) -> None:
    """Make messages of new notices, if there are any or some have waited long enough."""
    teller, connection = supervisor.teller, supervisor.connection
    if teller.seen == supervisor.revision and now < teller.gather_at:
        return
    teller.seen, before = supervisor.revision, teller.newest
    teller.newest = notices.newest(connection)
    if teller.newest == before and now < teller.gather_at:
        return
    teller.gather_at = math.inf
    groups = notices.untold(connection)
    if not groups:
        return
    settings = supervisor.settings.tell
    ways = ways_of(settings)
    wanted_groups = [group for group in groups if ways and is_wanted(settings, group)]
    ripe, room = _ripe(supervisor, wanted_groups, now)
    messages = _messages(supervisor, ripe, room, now)
    with transaction(connection):
        notices.add_messages(connection, [message._replace(way=way) for message in messages for way in ways])
        notices.mark_told(connection, [*(group for group in groups if group not in wanted_groups), *ripe])
        notices.give_up_old(connection, now - OLD_S)
    if messages:
        teller.send_at.update(dict.fromkeys(ways, now))  # wake up a way that waits for something new
    abort_at("notices-gathered")


def is_wanted(settings: Tell, group: Group) -> bool:
    """Return True if the settings ask for this kind of notice; never for a removed run."""
    if group.newest.run_id and not group.newest.run:
        return False
    kind = group.newest.kind
    return kind in settings.on or "all" in settings.on or ("alarms" in settings.on and kind in alarms.names())


def _ripe(supervisor: Supervisor, groups: Sequence[Group], now: float) -> tuple[list[Group], int]:
    """Return the groups that may be sent now and the room for messages; set when to look again for the rest."""
    teller, settings, connection = supervisor.teller, supervisor.settings.tell, supervisor.connection
    until = quiet_hours.until(settings.quiet, now) if settings.quiet is not None else None
    if until is not None or not groups:
        teller.gather_at = math.inf if until is None or not groups else until
        return [], 0
    recent = notices.made_since(connection, now - IN_S)
    if len(recent) >= MOST:
        teller.gather_at = recent[0] + IN_S
        return [], 0
    last = notices.last_made(connection)
    ripe = []
    for group in groups:
        told_at = last.get((group.newest.run_id, group.newest.kind), -math.inf)
        if told_at > now or told_at + settings.every_s <= now:  # a clock set back must not delay messages
            ripe.append(group)
        else:
            teller.gather_at = min(teller.gather_at, told_at + settings.every_s)
    return ripe, MOST - len(recent)


def _messages(supervisor: Supervisor, groups: Sequence[Group], room: int, now: float) -> list[Message]:
    """Return a message per group while there is room, and one for all others; their ways are set later."""
    root = supervisor.home.root
    single = groups if len(groups) <= room else groups[: room - 1]
    messages = [
        Message(notice.id, "", notice.run_id, notice.kind, body.body(root, notice, more), now, now, 0)
        for notice, more in single
    ]
    if others := groups[len(single) :]:
        number = max(group.newest.id for group in others)
        messages.append(Message(number, "", 0, MANY, body.digest(root, others), now, now, 0))
    return messages
