"""Fault 17: a GPU is lost under a job: it leaves the pool, its job is ended and names it, the others go on."""

import json
import random
import time
from collections import Counter

import pytest
from fake_nvml import UUIDS, Cards
from rig import counted
from waiting import times, wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.processes import alive


@pytest.mark.parametrize("repeats", [times(20, 2)])
@pytest.mark.parametrize("error", ["GPU_IS_LOST", "RESET_REQUIRED"])
def test_a_lost_gpu_takes_its_own_job_and_no_other(cold_rig, tmp_path, survived, error, repeats):
    moments = random.Random(17)
    cards = Cards(tmp_path / "nvml.json")
    cold_rig.model = "org/nowhere"  # its needs are unknown: a whole GPU
    cold_rig.up(FINETOP_TEST_NVML=str(cards.file))
    wrong = orphans = 0
    counts: Counter[str] = Counter()
    for number in range(repeats):
        names = [
            cold_rig.submit(f"{which}-{number}", steps=1_000_000, pause_s=0.01) for which in ("hit", "well")
        ]
        folders = [cold_rig.job_folder(name) for name in names]
        for name, folder in zip(names, folders, strict=True):
            cold_rig.wait_state(name, "running")
            wait_until(
                lambda folder=folder: (folder / "side.txt").exists() and (folder / "keeper.json").exists()
            )
        pid = json.loads((folders[0] / "keeper.json").read_text())["job_pid"]
        time.sleep(moments.uniform(0.0, 0.3))  # at any moment of training
        cards.change(0, error=error, mute=moments.random() < 0.5)
        waits = cold_rig.submit(f"waits-{number}", steps=20)
        hit = cold_rig.wait_state(names[0], "failed").state
        wrong += not (
            hit.kind == "gpu_lost" and hit.cause.startswith("GPU 0 (NVIDIA H100 80GB HBM3) is lost: ")
        )
        wrong += cold_rig.wait_state(names[1], "running", "failed").state.__class__.__name__ != "Running"
        wrong += cold_rig.wait_state(waits, "queued", "running").state.__class__.__name__ != "Queued"
        orphans += alive(pid)
        cards.change(0, error=None, mute=False)
        cold_rig.wait_state(waits, "finished")  # on the GPU that has come back
        wrong += cold_rig.ask(GetRun(waits)).jobs[0].gpus[0].uuid != UUIDS[0]
        cold_rig.ask(Stop(names[1]))
        cold_rig.wait_state(names[1], "stopped")
        for name in (*names, waits):
            reported, wrote = cold_rig.told_and_written(name)
            if wrote[-1] not in reported:
                del wrote[-1]  # it may be in the side file only
            counts.update(counted(reported, wrote))
    survived("17", f"a GPU is lost under a job: {error}", repeats=repeats, **counts, wrong=wrong,
             orphans=orphans)  # fmt: skip
