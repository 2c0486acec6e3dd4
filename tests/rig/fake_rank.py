"""One rank of a job that hangs: all but the last wait for the others; the last is somewhere else.

    RANK=0 WORLD_SIZE=2 python fake_rank.py FILE

It ends when FILE exists. The file `waits-RANK` next to it shows that it waits.
"""

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path


def barrier() -> None:
    wait()


def reads_data() -> None:
    wait()


def wait() -> None:
    Path(sys.argv[1]).with_name(f"waits-{os.environ['RANK']}").touch()
    while not os.access(sys.argv[1], os.F_OK):  # no Python frame below: a stack dump ends in this function
        time.sleep(0.01)  # between two looks


# Frames of ranks that wait for each other in torch are in this folder.
_meeting = compile("def all_reduce(): barrier()", "/lib/torch/distributed/distributed_c10d.py", "exec")
exec(_meeting)

if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR2)
    if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
        reads_data()
    else:
        all_reduce()  # type: ignore[name-defined]  # noqa: F821
