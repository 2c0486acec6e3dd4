"""Training on a GPU that is none: no operation mixes devices, and the host waits no more than it must.

The native half is compiled on the spot; without a compiler, or with a torch for CUDA, the tests skip.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pretended_guard
import pytest

from finetop.core.protocol.events import Metrics, Planned, decode

RIG = Path(pretended_guard.__file__).parent
FEW = ("method lora",)
# The runs that the built-in recipes begin with, on a card without bfloat16.
ON_A_T4 = (
    "method lora",
    "method full",
    "method layernorm",  # whose norms move beside a base in float16
    "objective dpo",
    "objective grpo",
    "objective reward",
    "objective ppo",
    "packing",
)
NO_KERNELS = (
    "nf4",
    "int8",
    "method loftq",
)  # bitsandbytes has none for a GPU here: loading is as far as it goes
# Where finetop's own lines make the host wait in a step; the libraries' waits are listed in docs/gpu.md.
ALLOWED = (
    "synchronize core/train/callbacks.py",  # a step's time is taken when it is done
    "item core/train/protection_callback.py",  # what a protection tells, behind that
    "core/train/objectives/distill.py",  # how many tokens are learned; once a line, both parts of the loss
    "core/train/ppo/",  # whose rollouts are paid on the host
    "item core/train/loss_scale.py",  # the scale, in float16 alone: the scaler itself waits there too
)

pytestmark = pytest.mark.skipif(bool(pretended_guard.why_not()), reason=pretended_guard.why_not())


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest) -> Path:
    return pretended_guard.build(request.config.cache.mkdir("pretended-gpu"))


def environment(library: Path, card: str = "") -> dict[str, str]:
    return {
        **os.environ,
        "FINETOP_PRETENDED_CARD": card,
        pretended_guard.LIBRARY: str(library),
        "CUDA_VISIBLE_DEVICES": "GPU-0",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(RIG),
        "PYTHONWARNINGS": "ignore",
    }


def run(library: Path, model: Path, home: Path, *names: str, card: str = "") -> dict[str, dict[str, Any]]:
    """Run cases in a process of their own; by name, what became of each."""
    done = subprocess.run(
        [sys.executable, str(RIG / "pretended_runs.py"), str(home), str(model), *names],
        env=environment(library, card),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for outcome in outcomes:  # without the numbers of lines
        outcome["waits"] = Counter(
            {re.sub(r":\d+$", "", place): count for place, count in outcome["waits"].items()}
        )
    return {outcome["name"]: outcome for outcome in outcomes}


def require_sound(outcome: dict[str, Any]) -> None:
    assert not outcome["mismatches"], outcome
    assert set(outcome["codes"].values()) == {0}, outcome
    assert outcome["waits"], outcome  # the step was seen
    ours = [place for place in outcome["waits"] if " in " not in place and "core/" in place]
    assert [place for place in ours if not any(allowed in place for allowed in ALLOWED)] == []
    assert outcome["waits"]["synchronize core/train/callbacks.py"] == 1


@pytest.mark.slow
def test_every_method_objective_and_protection_trains_resumes_and_is_checked(
    library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    outcomes = run(library, tiny_model, tmp_path / "home")
    assert len(outcomes) > 40
    for outcome in outcomes.values():
        assert not outcome["mismatches"], outcome
        if outcome["name"] not in NO_KERNELS:
            require_sound(outcome)


@pytest.mark.slow  # half a minute of compiling and of imports
def test_a_few_runs_mix_no_devices(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    outcomes = run(library, tiny_model, tmp_path / "home", *FEW)
    assert set(outcomes) == set(FEW)
    for outcome in outcomes.values():
        require_sound(outcome)


@pytest.mark.slow
def test_a_t4_trains_in_float16_with_a_loss_scale_and_nothing_is_emulated(
    library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    outcomes = run(library, tiny_model, home, *ON_A_T4, card="t4")
    assert set(outcomes) == set(ON_A_T4)
    for outcome in outcomes.values():
        require_sound(outcome)
        assert outcome["emulated"] == {}, outcome
    jobs = sorted(home.glob("runs/*/jobs/*-train"))
    assert len(jobs) == 2 * len(ON_A_T4)
    for job in jobs:
        told = [decode(line).e for line in (job / "events.jsonl").read_bytes().splitlines()]
        assert {event.dtype for event in told if isinstance(event, Planned)} == {"float16"}
        steps = [event.values for event in told if isinstance(event, Metrics) and "loss" in event.values]
        assert steps and all(values["loss_scale"] <= 65536 for values in steps), job
        if job.name.startswith("0001"):
            assert "float16: this card (Tesla T4) has no bfloat16" in (job / "log.txt").read_text()
    lora = next(job.parents[1] for job in jobs if '"lora"' in (job / "job.json").read_text())
    kept = [(lora / f"checkpoints/step-{step:06d}/state/state.json").read_text() for step in (2, 3)]
    grown = [int(tracker) for text in kept for tracker in re.findall(r'"_growth_tracker", (\d+)', text)]
    assert grown == [2, 3]  # the resumed run went on with the scaler's count


@pytest.mark.slow
def test_the_report_of_a_gpu_measures_all_that_is_installed(library: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.md"
    done = subprocess.run(
        [sys.executable, str(RIG / "pretended_report.py"), str(page)],
        env={**environment(library), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.read_text().splitlines()
        if "|" in line
    ]
    measured = {row[0] for row in rows if row[1].replace(",", "").isdigit()}
    missed = {row[0]: row[-1] for row in rows if row[1] == "-"}
    assert {
        "lora",
        "full",
        "TRL alone, lora r16",
        "full, stochastic",
        "packed, sdpa",
        "ppo, exact",
    } <= measured
    assert {"grpo, exact", "grpo, continuous", "rloo, exact"} <= measured
    no_kernels = {"loftq", "lora on nf4", "packed, flex"}  # for a GPU that is none
    told = {name for name, said in missed.items() if "is not installed" in said}
    assert set(missed) <= no_kernels | told, missed
    assert re.search(r"## A check of quick\s+[\d.]+ s, ", page.read_text())
