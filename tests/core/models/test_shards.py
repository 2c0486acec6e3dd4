"""Two ranks agree, share work, and hold a model in halves that is the same as a whole one; gloo on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from waiting import TORCH_LIMIT_S

from finetop.core.models import collectives

PAIR = Path(__file__).parents[2] / "rig" / "gloo_pair.py"


def test_two_ranks_talk_and_hold_a_model_in_halves():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(PAIR)],
            env={
                **os.environ,
                **meeting,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "CUDA_VISIBLE_DEVICES": "",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=TORCH_LIMIT_S)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said


def test_alone_nothing_is_exchanged():
    assert collectives.gathered(3) == [3]
    assert collectives.from_first(lambda: 4) == 4
    assert collectives.largest([5, True]) == [5, 1]
    assert list(collectives.own_share([1, 2])) == [1, 2]
    assert collectives.in_order([[1, 2, 3]]) == [1, 2, 3]
