"""A job with many processes: workers, grandchildren in their own sessions, daemons, one that keeps forking.

python brood.py JOB_FOLDER

All of them carry the test's mark (FINETOP_TEST_BROOD). The recipe's `about` says what the job does then: `then`
("wait", "end", "crash"), and `bomb`: the most processes that fork quickly, each in its own session or not.
"""

import faulthandler
import json
import os
import signal
import sys
import time
from pathlib import Path

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.runtime.job_folder import read_spec


def main() -> int:
    folder = Path(sys.argv[1])
    plan = json.loads(read_spec(folder).recipe["about"])
    faulthandler.register(signal.SIGUSR2)
    log = event_log.EventLog(folder / "events.jsonl")
    log.write(events.Started(1, 1, os.getpid(), "cpu", "float32", {}))
    for _ in range(4):
        child(wait)
    child(wait, own_session=True)
    child(lambda: child(wait, own_session=True), own_session=True)  # a daemon: its parent is gone
    child(stubborn)
    child(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    if plan.get("bomb"):
        child(lambda: bomb(plan["bomb"]), own_session=True)
    time.sleep(0.1)  # the bomb is under way, and its size differs each time
    log.write(events.metrics(1, {"loss": 1.0}))
    if plan["then"] == "wait":
        wait()
    if plan["then"] == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    log.write(events.Ended("finished"))
    return 0


def child(work, own_session: bool = False) -> None:
    if os.fork() == 0:
        if own_session:
            os.setsid()
        work()
        os._exit(0)


def wait() -> None:
    time.sleep(600)  # until it is killed


def stubborn() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wait()


def bomb(most: int) -> None:
    """Fork on and on, generation after generation, every third in its own session; some live, most do not."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for generation in range(most):
        if os.fork():
            time.sleep(0.002 if generation % 10 else 600)  # some live, most do not
            os._exit(0)
        if generation % 3 == 0:
            os.setsid()
    wait()


if __name__ == "__main__":
    sys.exit(main())
