"""What a run on a CPU holds at its peak is within what its plan says it needs, and not far below."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from drawn import drawn
from python_call import call
from tiny_run import chat, recipe_text, write_rows

from finetop.core.commands.main import main
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import resolve_text

# A job as a keeper starts it; at its end it says the most that it held, as the kernel counts it.
JOB = """
from finetop.core import run_job
code = run_job.main()
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("PEAK", line.split()[1])
raise SystemExit(code)
"""
WORDS = "The shop opens at nine and closes at six. We mend radios, lamps and clocks in the old mill. " * 3
CHATS = [chat(f"What is {n}? {WORDS[: n * 7]}", f"{WORDS[: 40 + n * 5]} {n}") for n in range(40)]
PAIRS = [
    {
        "prompt": f"What is {n}? {WORDS[: n * 5]}",
        "chosen": f"It is {n}. {WORDS[: n * 4]}",
        "rejected": "Lamps.",
    }
    for n in range(40)
]
RUNS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "sft-lora": (CHATS, {}),
    "sft-full": (CHATS, {"method": {"name": "full"}}),
    "dpo": (PAIRS, {"objective": {"name": "dpo"}}),
    "reward": (PAIRS, {"objective": {"name": "reward"}}),
}


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 90 million numbers with the tiny one's tokenizer: what it holds is more than the libraries are."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("peaks") / "model"
    shutil.copytree(tiny_model, folder)
    config = AutoConfig.from_pretrained(tiny_model)
    sizes = {"hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 12}
    heads = {"num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64}
    config.update({**sizes, **heads})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", drawn(RUNS, 1, marks=[pytest.mark.slow]))
def test_a_peak_is_what_was_planned(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    rows, sections = RUNS[name]
    train = {"train": {"max_steps": 6, "learning_rate": 1e-4}, "data": {"max_tokens": 256}}
    text = recipe_text(model, write_rows(tmp_path / "rows.jsonl", rows), train, sections)
    home = tmp_path / "home"
    monkeypatch.setenv("FINETOP_HOME", str(home))
    (tmp_path / "recipe.yaml").write_text(text)
    assert main(["plan", str(tmp_path / "recipe.yaml"), "--json"]) == 0
    need = json.loads(capfd.readouterr().out)["plan"]["need"]

    job = home / "runs" / "0001-tiny" / "jobs" / "0001-train"
    job.mkdir(parents=True)
    spec = JobSpec(1, 1, 1, "tiny", "train", resolve_text(text).resolved)
    (job / "job.json").write_bytes(msgspec.json.encode(spec))
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = call("-c", JOB, job, cwd=job, **{**quiet, "FINETOP_HOME": os.fspath(home)})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (peak_kib,) = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("PEAK")]
    peak = peak_kib * 1024
    assert need / 2 <= peak <= need, (need, peak)
