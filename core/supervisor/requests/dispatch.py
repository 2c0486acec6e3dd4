"""Dispatches a request to the function for its type: each module here, and each
feature's `requests`, lists its own in ANSWERS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from inspect import isawaitable
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from finetop.core import plugins
from finetop.core.protocol.messages.trash import Clean, EmptyTrash
from finetop.core.protocol.request import Answer, Ask, Request
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.requests import trash
from finetop.core.supervisor.save_records import record
from finetop.core.supervisor.state import Supervisor

_NAMES = sorted(file.name for file in iter_modules([str(Path(__file__).parent)]))
_MODULES = [import_module(f"{__package__}.{name}") for name in _NAMES if name != "dispatch"]
ANSWERS: Mapping[type[Ask], Callable[[Supervisor, Any], Any]] = {
    request: answer
    for module in (*_MODULES, *plugins.doors("requests"))
    for request, answer in vars(module).get("ANSWERS", {}).items()
}


async def answer(supervisor: Supervisor, ask: Request[Answer]) -> Answer:
    """Answer one request, and record that a client is active.

    Queries are answered from the store at once; those that read files, GPUs or other machines wait individually.
    Changes are written to the run folders before they are answered.
    """
    supervisor.asked_at = time.monotonic()
    revision = supervisor.revision
    reply: Answer = ANSWERS[type(ask)](supervisor, ask)
    if isawaitable(reply):
        reply = await reply
    if supervisor.revision != revision:
        await record(supervisor)
    if isinstance(ask, EmptyTrash | Clean):  # already invisible; deleting the files may take long
        await aside(partial(trash.delete_discarded, supervisor.home))
    return reply
