"""Sends messages: one at a time per way, each in its own process, with retries."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.recipe.home_settings import Tell
from finetop.core.runtime import child
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import open_regular
from finetop.core.runtime.webhook_url import is_fine
from finetop.core.store import notices
from finetop.core.store.database import transaction
from finetop.core.supervisor.notify import compose
from finetop.core.supervisor.state import OnItsWay, Supervisor
from finetop.core.text import clean

AGAIN_S = (10.0, 60.0, 300.0, 1800.0)  # after the first try, the second …; then the message is given up
GRACE_S = 5.0  # for the sending process, which enforces the limit itself
SAID = 500  # of a command's output or a server's answer


def update(supervisor: Supervisor, now: float) -> None:
    """Make messages of new notices, record the outcome of sent ones, and send the next."""
    compose.gather(supervisor, now)
    teller = supervisor.teller
    for way in [way for way, sent in teller.on_their_way.items() if sent.task.done()]:
        _settle(supervisor, teller.on_their_way.pop(way), now)
        teller.wait(way, now)
    for way in compose.ways_of(supervisor.settings.tell):
        if way not in teller.on_their_way and teller.may_send(way, now):
            _send_next(supervisor, way, now)


def _send_next(supervisor: Supervisor, way: str, now: float) -> None:
    teller, settings = supervisor.teller, supervisor.settings.tell
    message = notices.due(supervisor.connection, way)
    if message is None:
        teller.wait(way)
        return
    latest = now + settings.limit_s + AGAIN_S[-1]  # a due time beyond it means that the clock was set back
    if now < message.due <= latest:
        teller.wait(way, message.due)
        return
    again_at = now + settings.limit_s + AGAIN_S[0]  # if this process dies meanwhile, the way is not to blame
    with transaction(supervisor.connection):
        notices.tried(supervisor.connection, message, again_at)
    abort_at("message-tried")
    task = asyncio.get_running_loop().create_task(send(settings, way, message.body))
    teller.on_their_way[way] = OnItsWay(message, task)


def _settle(supervisor: Supervisor, sent: OnItsWay, now: float) -> None:
    """Record that a message was delivered or when to retry; print the outcome to the log."""
    message, tries = sent.message, sent.message.tries + 1
    is_through, output = sent.task.result()
    abort_at("message-sent")
    with transaction(supervisor.connection):
        if is_through or tries > len(AGAIN_S):
            notices.settle(supervisor.connection, message, "" if is_through else output or "it failed")
        else:
            notices.wait(supervisor.connection, message, now + AGAIN_S[tries - 1])
    outcome = "sent" if is_through else f"not sent, try {tries} of {len(AGAIN_S) + 1}"
    indented = "\n  ".join(line for line in clean(output).splitlines() if line.strip())
    head = f"{time.strftime('%F %T')} message {message.id} ({clean(message.kind)}) by {message.way}"
    print(f"{head}: {outcome}{f': {indented}' if indented else ''}", file=sys.stderr)


async def send(settings: Tell, way: str, text: str) -> tuple[bool, str]:
    """Send a message; return whether it was accepted, and the output or error."""
    order: dict[str, Any] = {"body": text, "limit_s": settings.limit_s}
    try:
        if way == "command":
            order["command"] = settings.command
        else:
            order["address"] = webhook_address(settings)
            order["proxy"] = settings.webhook is not None and settings.webhook.proxy
    except FinetopError as error:
        return False, str(error)
    late, asked = f"it took longer than {settings.limit_s:g} s", msgspec.json.encode(order) + b"\n"
    try:
        async with asyncio.timeout(settings.limit_s + GRACE_S):
            # as the subreaper, it can end every process that the command started
            answer = await child.answer("finetop.core.supervisor.notify.send", asked=asked)
    except TimeoutError:
        return False, late
    output = (answer.output + answer.errors).decode("utf-8", "replace").strip()[-SAID:]
    return answer.code == 0, output or ("" if answer.code == 0 else late)


def webhook_address(settings: Tell) -> str:
    """Return the webhook address from where it is kept. Raises FinetopError, whose text does not repeat the address."""
    webhook = settings.webhook
    assert webhook is not None
    if webhook.url is not None:
        return webhook.url
    if webhook.url_env is not None:
        place, address = f"the variable {webhook.url_env}", os.environ.get(webhook.url_env, "").strip()
        if not address:
            message = f"tell.webhook: the supervisor has no variable {webhook.url_env}."
            hint = "Set it where the supervisor starts: `finetop supervisor stop`, then any command."
            raise EnvironmentTrouble(message, hint=hint)
    else:
        assert webhook.url_file is not None
        place, address = webhook.url_file, _first_line(Path(webhook.url_file))
    if not is_fine(address):
        raise BadInput(f"{place} must hold an address that begins with https://, or with http://localhost.")
    return address


def _first_line(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            facts = os.fstat(opened.fileno())
            lines = opened.read(8192).decode("utf-8", "replace").split("\n")
    except OSError as error:
        raise EnvironmentTrouble(f"tell.webhook.url_file: {file} can't be read: {error.strerror}.") from error
    if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise BadInput(f"{file} holds a secret, but others can read it.", hint=f"chmod 600 {file}")
    return lines[0].strip()
