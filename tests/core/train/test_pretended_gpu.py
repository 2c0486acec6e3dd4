"""Training on a pretended GPU: no operation mixes devices, and the host waits no more than it must.

The native half is compiled on the spot; without a compiler the tests skip.
"""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pretended_guard
import pytest
from drawn import drawn, few
from pretended_runs import cases
from python_call import call
from tiny_run import of, read_events

from finetop.core.protocol.events import Metrics, Planned

RIG = Path(pretended_guard.__file__).parent
# The runs of the built-in recipes, on a card without bfloat16.
ON_A_T4 = (
    "method lora", "method full",
    "method layernorm",  # its norms are trained beside a float16 base
    "objective dpo", "objective grpo", "objective reward", "objective ppo", "packing",
)  # fmt: skip
NO_KERNELS = (
    "nf4",
    "int8",
    "method loftq",
)  # bitsandbytes has no kernels for a GPU here: only loading is tested
# The lines of finetop that make the host wait in a step; the libraries' waits are listed in docs/gpu.md.
ALLOWED = (
    "synchronize core/train/meter.py",  # a step's time is measured when it is done
    "item core/train/protection_callback.py",  # a protection's metrics, after that
    "core/train/objectives/distill.py",  # number of learned tokens; once per log line, both losses
    "core/train/ppo/",  # rollouts are scored on the host
    "item core/train/loss_scale.py",  # only in float16, where the scaler itself waits too
)

pytestmark = [
    pytest.mark.skipif(bool(pretended_guard.why_not()), reason=pretended_guard.why_not()),
    pytest.mark.timeout(2200),  # more than all methods may take
]
ALL_METHODS_S = 2000.0
REPORT_S = 1200  # of its sections; what does not come to its end until then is named as late
REPORT = RIG.parent / "bench" / "gpu_report.py"
GPU_FILES = (
    "test_gpu.py",
    "features/approaches/test_measuring.py",
    "features/select/selectors/test_selectors.py",
)


@pytest.fixture(scope="module")
def library(request):
    return pretended_guard.build(request.config.cache.mkdir("pretended-gpu"))


def run(library, model, home, *names, card=""):
    """Run cases in a separate process; return what happened to each, by name."""
    own = {
        "FINETOP_PRETENDED_CARD": card,
        pretended_guard.LIBRARY: str(library),
        "CUDA_VISIBLE_DEVICES": "GPU-0",
    }
    quiet = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(RIG), "PYTHONWARNINGS": "ignore"}
    done = call(RIG / "pretended_runs.py", home, model, *names, limit_s=ALL_METHODS_S, **own, **quiet)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for outcome in outcomes:  # without line numbers
        outcome["waits"] = Counter(
            {re.sub(r":\d+$", "", place): count for place, count in outcome["waits"].items()}
        )
    return {outcome["name"]: outcome for outcome in outcomes}


def require_sound(outcome):
    assert not outcome["mismatches"], outcome
    assert set(outcome["codes"].values()) == {0}, outcome
    assert outcome["waits"], outcome  # the step was recorded
    ours = [place for place in outcome["waits"] if " in " not in place and "core/" in place]
    assert [place for place in ours if not any(allowed in place for allowed in ALLOWED)] == []
    assert outcome["waits"]["synchronize core/train/meter.py"] == 1


@pytest.mark.slow
def test_every_method_objective_and_protection_trains_resumes_and_is_checked(library, tiny_model, tmp_path):
    names = [case.name for case in cases(tiny_model)]
    assert len(names) > 40
    chosen = few(names, 6)
    outcomes = run(library, tiny_model, tmp_path / "home", *chosen)
    assert list(outcomes) == chosen
    for outcome in outcomes.values():
        assert not outcome["mismatches"], outcome
        if outcome["name"] not in NO_KERNELS:
            require_sound(outcome)


@pytest.mark.slow
def test_a_t4_trains_in_float16_with_a_loss_scale_and_nothing_is_emulated(library, tiny_model, tmp_path):
    home = tmp_path / "home"
    chosen = {ON_A_T4[0], *few(ON_A_T4, 2)}
    outcomes = run(library, tiny_model, home, *chosen, card="t4")
    assert set(outcomes) == chosen
    for outcome in outcomes.values():
        require_sound(outcome)
        assert outcome["emulated"] == {}, outcome
    jobs = sorted(home.glob("runs/*/jobs/*-train"))
    assert len(jobs) == 2 * len(chosen)
    for job in jobs:
        told = read_events(job)
        assert {event.dtype for event in of(Planned, told)} == {"float16"}
        steps = [event.values for event in of(Metrics, told) if "loss" in event.values]
        assert steps and all(values["loss_scale"] <= 65536 for values in steps), job
        if job.name.startswith("0001"):
            assert "float16: this card (Tesla T4) has no bfloat16" in (job / "log.txt").read_text()
    lora = next(job.parents[1] for job in jobs if '"lora"' in (job / "job.json").read_text())
    kept = [(lora / f"checkpoints/step-{step:06d}/state/state.json").read_text() for step in (2, 3)]
    grown = [int(tracker) for text in kept for tracker in re.findall(r'"_growth_tracker", (\d+)', text)]
    assert grown == [2, 3]  # the resumed run continued the scaler's count


@pytest.mark.nightly
def test_the_report_of_a_gpu_measures_all_that_is_installed(library, tmp_path):
    page = tmp_path / "report.md"
    own = {pretended_guard.LIBRARY: str(library), "TMPDIR": str(tmp_path)}
    done = call(REPORT, "--pretended", "--seconds", str(REPORT_S), "--to", page, limit_s=ALL_METHODS_S, **own)
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    measured = {row[0] for row in rows if row[1].replace(",", "").isdigit()}
    missed = {row[0]: row[-1] for row in rows if row[1] == "-"}
    late = {name for name, said in missed.items() if said.startswith("killed after")}  # a busy machine
    assert {
        "full, float32",
        "full, stochastic",
        "finetop, lora r16, activations kept",
        "TRL alone, lora r16, activations kept",
        "8B, lora",
        "8B, TRL alone, lora",
        "packed, sdpa",
        "lora",
    } <= measured
    # for a pretended GPU
    no_kernels = {"loftq", "lora on nf4", "8B, lora on nf4", "packed, flex", "not packed, compiled"}
    assert set(missed) <= no_kernels | late, missed
    checks = {row[0]: row[1] for row in rows if row[0] in ("8B, base and tuned", "finetop")}
    assert all(took.endswith(" s") for took in checks.values()) and len(checks) == 2, checks
    assert re.search(r"## Tests marked gpu\s+[1-9]\d* passed, [1-9]\d* skipped\.\n", text)
    assert "This GPU is **pretended**" in text
    assert "allocator: expandable_segments:True" in text  # set by the job
    assert {row[2] for row in rows if row[0] in measured} == {"-"}  # a pretended GPU has no memory to measure


@pytest.mark.parametrize("card", drawn(["", "t4"], 1, marks=[pytest.mark.slow]))
def test_tests_marked_gpu_pass_on_it_but_for_those_that_need_more_than_a_device(library, tmp_path, card):
    """A T4 has no bfloat16: they use the card's own format."""
    root = REPORT.parents[2]
    files = [root / "tests" / "core" / name for name in GPU_FILES]
    words = ["-m", "pytest", "-rs", "--pretended-gpu", "-m", "gpu", "-W", "default", *files]
    own = {pretended_guard.LIBRARY: str(library), "FINETOP_PRETENDED_CARD": card}
    done = call(
        *words,
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'base'}",
        cwd=root,
        limit_s=ALL_METHODS_S,
        **own,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout), done.stdout
    for lack in ("memory", "kernels", "driver"):
        assert f"the pretended GPU has no {lack}" in done.stdout


@pytest.mark.slow
def test_tests_marked_gpu_run_on_it_and_can_fail(tmp_path):
    """Tests that need only a device pass, those that need more skip with a reason, and those that mix devices fail."""
    text = """
import pytest, torch
pytestmark = pytest.mark.gpu

def test_sum():
    assert torch.ones(3, device="cuda:0").sum().item() == 3

def test_mixed():
    torch.ones(3, device="cuda:0") + torch.ones(3)

@pytest.mark.gpu(needs="kernels")
def test_kernel():
    raise AssertionError
"""
    (tmp_path / "test_planted.py").write_text(text)
    shutil.copy(REPORT.parents[1] / "conftest.py", tmp_path)
    words = ["-m", "pytest", "-rfs", "-c", REPORT.parents[2] / "pyproject.toml", "--rootdir", tmp_path]
    done = call(*words, "--pretended-gpu", "-m", "gpu", tmp_path, PYTHONPATH=str(RIG))
    assert "1 failed, 1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "the pretended GPU has no kernels" in done.stdout
    assert "DeviceMismatch: Expected all tensors to be on the same device" in done.stdout
