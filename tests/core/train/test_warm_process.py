"""The warm process becomes the job that it is given, with its output in the job's log; without a keeper it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_nvml
import pytest
from fake_nvml import UUIDS, Cards
from python_call import call
from waiting import LIMIT_S, TORCH_LIMIT_S, wait_until as until

from finetop.core.runtime import gpus

RIG = Path(fake_nvml.__file__).parent

# As the real one, except the imports (10 s) and the training: tests/bench/warm_start.py has both.
PROGRAM = """
import sys
from finetop.core import run_job
from finetop.core.train import job
job.prepare = lambda: print("imported")
def job(folder):
    print("folder", folder, flush=True)
    print("oops", file=sys.stderr)
    return 5
run_job.run = job
raise SystemExit(run_job.main())
"""


def wait_with(told, tmp_path):
    return call("-c", PROGRAM, "--warm", tmp_path / "spare.json", told=told, limit_s=LIMIT_S)


def test_it_becomes_the_job_that_it_is_told(tmp_path):
    done = wait_with(f"{tmp_path}\n", tmp_path)
    assert done.returncode == 5
    assert done.stdout == "imported\n"
    log = (tmp_path / "log.txt").read_text()
    assert log == f"folder {tmp_path}\noops\n"
    assert json.loads((tmp_path / "spare.json").read_text())["pid"] > 0


def test_it_ends_when_its_keeper_is_gone(tmp_path):
    done = wait_with("", tmp_path)
    assert (done.returncode, done.stdout) == (0, "imported\n")
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.slow
def test_it_begins_no_cuda(tmp_path):
    """What it imports and rehearses reads the GPU's facts from NVML, and recognises it."""
    cards = Cards(tmp_path / "nvml.json", count=2)
    cards.change(1, capability=[9, 0])
    own = {"CUDA_VISIBLE_DEVICES": UUIDS[1], "PYTHONPATH": str(RIG)}
    done = call("-W", "ignore", RIG / "cuda_calls.py", cards.file, **own)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["meanwhile"] == []
    assert (found["backend"], found["ops"]) == ("CUDA", True)  # bitsandbytes is ready for a GPU
    assert found["later"], "the job itself asks CUDA again"
    assert found["adamw"], "the compiler was imported ahead"


@pytest.mark.gpu(needs="driver", packages=("trl", "bitsandbytes"))
def test_the_driver_lists_no_process_that_waits(tmp_path):
    """Not among those that use a GPU's memory; with the real imports and the real driver."""
    seen = gpus.read_once()
    fit = [gpu for gpu in seen.gpus if not gpu.fault and gpu.processes is not None]
    if not fit or not gpus.sees_all_processes():
        pytest.skip("the driver lists no processes here")
    ready = tmp_path / "spare.json"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "finetop.core.run_job", "--warm", str(ready)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": fit[0].uuid},
        stdin=subprocess.PIPE,
    ) as process:
        until(lambda: ready.exists() or process.poll() is not None, limit_s=TORCH_LIMIT_S)
        listed = {one.pid for gpu in gpus.read_once().gpus for one in gpu.processes or ()}
        process.communicate(b"")
    assert process.returncode == 0
    assert process.pid not in listed
