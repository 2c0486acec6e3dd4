"""`finetop retry RUN`: retry a run's failed job, from its newest checkpoint if there is one."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, reply
from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.queue import Retry
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number; a run that waits for its next try gets it now")


def run(args: argparse.Namespace, home: Home) -> int:
    queued = ask_once(home, Retry(args.run))
    how = job_kinds.of(queued.what).resumes(queued.step)
    text = f"{queued.run} {how}, place {queued.place}. Follow it: finetop tail {queued.run}"
    return reply(args, {"retried": plain(queued)}, text)


PLUGIN = Command("retry a run's failed job: training, check or export", "run", run, arguments)
