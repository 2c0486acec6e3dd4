"""Real training programs, started and watched: their numbers, their output, and what a stop leaves of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import command_runs
import pytest
from command_runs import stored, submit
from metric_files import put
from rig import Rig
from tiny_run import chat, write_rows
from waiting import TORCH_LIMIT_S, wait_until

from finetop.core.commands.main import main
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.protocol.events import SKIPPED_OUTPUT
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Watch
from finetop.core.protocol.runs import WATCHED, word
from finetop.core.runtime import processes
from finetop.core.runtime.home import Home

ENDS = ("finished", "stopped", "failed", "lost")
# Trains the base's last norm by itself, and saves the whole model beside its other files.
LOOP = """
    import shutil, sys, torch
    from safetensors.torch import load_file, save_file
    from finetop.core.external.client import log

    base, steps = sys.argv[1], 20
    shutil.copytree(base, "out")
    weights = load_file("out/model.safetensors")
    scale = torch.nn.Parameter(weights["model.norm.weight"].clone())
    optimizer = torch.optim.SGD([scale], lr=0.01)
    for step in range(1, steps + 1):
        loss = ((scale - 2.0) ** 2).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        log("loop", step, loss=loss.item(), total_steps=steps)
    weights["model.norm.weight"] = scale.detach()
    save_file(weights, "out/model.safetensors", {"format": "pt"})
"""
TRAINER = """
    import sys
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    base, steps = sys.argv[1], int(sys.argv[2])
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer("We mend radios, lamps and clocks.")["input_ids"]
    arguments = TrainingArguments(
        "out", max_steps=steps, logging_steps=2, save_steps=10, learning_rate=1e-3, report_to="none", use_cpu=True,
        per_device_train_batch_size=1,
    )
    rows = [{"input_ids": ids, "labels": ids}] * 40
    trainer = Trainer(AutoModelForCausalLM.from_pretrained(base), arguments, train_dataset=rows,
                      processing_class=tokenizer)
    trainer.train()
    trainer.save_model("out")
"""
# Prints a dict for each step and no bar; its state is written with each checkpoint.
ENDLESS_TRAINER = """
    import sys, time
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

    class Slow(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            time.sleep(0.5)

    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    ids = tokenizer("We mend radios, lamps and clocks.")["input_ids"]
    arguments = TrainingArguments(
        "out", max_steps=100_000, logging_steps=1, save_steps=20, learning_rate=1e-4, report_to="none", use_cpu=True,
        disable_tqdm=True, per_device_train_batch_size=1,
    )
    rows = [{"input_ids": ids, "labels": ids}] * 1000
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
    Trainer(model, arguments, train_dataset=rows, callbacks=[Slow()]).train()
"""
# Prints 6 MB/s for five seconds: a step between plain text, and lines of numbers that are none.
FLOOD = """
    import sys, time
    text = "".join(f"token {n} of the answer, as it is written while it trains; 0.25 s\\n" for n in range(4500))
    began = time.monotonic()
    for step in range(1, 101):
        sys.stdout.write(f"{text}step {step}/100 | loss {1 / step:.4f}\\n")
        sys.stdout.flush()
        time.sleep(max(0.0, began + step * len(text) / 6e6 - time.monotonic()))
"""
RANKS = """
    import os, time, torch
    from accelerate import Accelerator
    from finetop.core.external.client import log

    accelerator = Accelerator(cpu=True)
    model, optimizer = torch.nn.Linear(4, 1), None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model, optimizer = accelerator.prepare(model, optimizer)
    for step in range(1, 100_000):
        loss = model(torch.ones(2, 4)).pow(2).mean()
        optimizer.zero_grad(); accelerator.backward(loss); optimizer.step()
        if accelerator.is_main_process:
            log("ranks", step, loss=loss.item(), world=accelerator.num_processes)
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(Home(tmp_path_factory.mktemp("programs") / "home"))
    command_runs.up(made)
    yield made
    made.stop_all()


def script(folder: Path, text: str, name: str = "train.py") -> Path:
    return put(folder / name, dedent(text))


def require_checked(rig: Rig, name: str, steps: list[int], verb: str = "command") -> None:
    """Wait until a run has ended, and require that its numbers are there, its output imported, and a check queued."""
    row = rig.wait_state(name, *ENDS, limit_s=TORCH_LIMIT_S)
    assert word(row.state) == "finished", rig.about(name)
    assert row.state.cause == "", row.state
    wait_until(lambda: "check" in verbs(rig, name), lambda: rig.about(name))
    assert verbs(rig, name) == [verb, "import", "check"]
    assert stored(rig, name) == steps
    assert row.step == steps[-1]


def with_trainer(rig: Rig, trainer: str, folder: Path, programs: Path, patch: pytest.MonkeyPatch) -> str:
    """Queue a trainer's own file, sft.yaml, from its folder, as typed, and return the run's name."""
    patch.chdir(folder)
    patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert main(["--home", str(rig.home.root), "run", "--with", trainer, "sft.yaml", "--name", trainer]) == 0
    return trainer


def verbs(rig: Rig, name: str) -> list[str]:
    return [job.verb for job in rig.ask(GetRun(name)).jobs]


@pytest.mark.slow
def test_a_bare_loop_of_torch_reports_by_finetop_log_and_its_model_is_checked(rig, tmp_path, tiny_model):
    folder = tmp_path / "loop"
    file = script(folder, LOOP)
    words = [sys.executable, str(file), str(tiny_model)]
    name = submit(rig, folder, words, "loop", output="out", base=str(tiny_model))
    require_checked(rig, name, [*range(1, 21)])


@pytest.mark.slow
def test_a_trainer_is_read_from_what_it_prints_and_writes(rig, tmp_path, tiny_model):
    folder = tmp_path / "trainer"
    words = [sys.executable, str(script(folder, TRAINER)), str(tiny_model), "20"]
    name = submit(rig, folder, words, "trainer", output="out", base=str(tiny_model))
    require_checked(rig, name, [*range(2, 21, 2)])
    assert stored(rig, name, "learning_rate") == [*range(2, 21, 2)]


@pytest.mark.slow  # it imports torch four times; quick tests run the loop above, and a file of TRL's by another program
def test_trl_runs_by_its_own_file_and_what_it_trained_is_checked(rig, tmp_path, tiny_model, monkeypatch):
    folder = tmp_path / "trl"
    program = script(tmp_path / "bin", f"#!{sys.executable}\nfrom trl.cli import main\nmain()\n", "trl")
    program.chmod(0o700)
    folder.mkdir()
    write_rows(folder / "rows.jsonl", [chat(f"What is {n}?", f"It is {n * n}.") for n in range(8)])
    (folder / "sft.yaml").write_text(
        f"model_name_or_path: {tiny_model}\ndatasets: [{{path: json, data_files: rows.jsonl}}]\noutput_dir: out\n"
        "max_steps: 4\nlogging_steps: 2\nsave_steps: 2\nlearning_rate: 0.01\nreport_to: none\nuse_cpu: true\n"
        "bf16: false\nuse_peft: true\nlora_r: 4\nlora_target_modules: all-linear\n"
    )
    name = with_trainer(rig, "trl", folder, program.parent, monkeypatch)
    require_checked(rig, name, [2, 4])
    detail = rig.ask(GetRun(name))
    assert (detail.row.method, detail.row.model) == ("lora", str(tiny_model))
    assert [checkpoint.step for checkpoint in detail.checkpoints] == [2, 4]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llamafactory") is None, reason="needs LLaMA-Factory")
def test_llama_factory_runs_by_its_own_file_and_what_it_trained_is_checked(
    rig, tmp_path, tiny_model, monkeypatch
):
    folder = tmp_path / "factory"
    (folder / "data").mkdir(parents=True)
    rows = [{"instruction": f"What is {n}?", "input": "", "output": f"It is {n * n}."} for n in range(8)]
    (folder / "data" / "rows.json").write_text(json.dumps(rows))
    (folder / "data" / "dataset_info.json").write_text('{"rows": {"file_name": "rows.json"}}')
    (folder / "sft.yaml").write_text(
        f"model_name_or_path: {tiny_model}\nstage: sft\ndo_train: true\nfinetuning_type: lora\nlora_rank: 4\n"
        "lora_target: all\ndataset: rows\ntemplate: default\ncutoff_len: 64\noutput_dir: saves/tiny\n"
        "logging_steps: 2\nsave_steps: 2\nmax_steps: 4\nlearning_rate: 1.0e-3\nreport_to: none\nuse_cpu: true\n"
    )
    name = with_trainer(rig, "llamafactory", folder, Path(sys.executable).parent, monkeypatch)
    require_checked(rig, name, [2, 4])
    assert rig.ask(GetRun(name)).row.method == "lora"


@pytest.mark.slow
def test_all_steps_that_a_trainer_printed_are_stored_though_its_state_is_of_a_checkpoint(
    rig, tmp_path, tiny_model
):
    folder = tmp_path / "stopped"
    words = [sys.executable, str(script(folder, ENDLESS_TRAINER)), str(tiny_model)]
    name = submit(rig, folder, words, "stopped", output="out", base=str(tiny_model))

    def printed() -> int:
        log = rig.job_folder(name) / "log.txt"
        return log.read_text().count("{'loss': ") if log.exists() else 0

    wait_until(lambda: printed() >= 34, lambda: rig.about(name), TORCH_LIMIT_S)

    def last() -> int:
        return next(reversed(stored(rig, name)), 0)

    wait_until(lambda: last() > 20 and last() % 20, "what follows a checkpoint is seen while it trains")
    rig.ask(Stop(name))
    rig.wait_state(name, *ENDS)
    assert stored(rig, name) == [*range(1, printed() + 1)]
    assert not [alarm for alarm in rig.ask(GetRun(name)).alarms if alarm.kind == SKIPPED_OUTPUT]


@pytest.mark.slow
def test_each_step_of_a_program_that_prints_megabytes_a_second_is_stored(rig, tmp_path):
    folder = tmp_path / "flood"
    name = submit(rig, folder, [sys.executable, str(script(folder, FLOOD))], "flood")
    assert word(rig.wait_state(name, *ENDS).state) == "finished"
    assert (rig.job_folder(name) / "log.txt").stat().st_size > 25e6
    assert stored(rig, name) == [*range(1, 101)]
    assert not [alarm for alarm in rig.ask(GetRun(name)).alarms if alarm.kind == SKIPPED_OUTPUT]


@pytest.mark.slow
def test_a_stop_ends_both_ranks_of_accelerate(rig, tmp_path):
    folder = tmp_path / "ranks"
    file = script(folder, RANKS)
    # --multi_gpu: with --cpu accelerate starts one process; Accelerator(cpu=True) takes gloo all the same
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    more = "--num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
    name = submit(rig, folder, [*launch, *more.split(), str(file)], "ranks", "command.grace_s=120")
    wait_until(lambda: rig.ask(GetRun(name)).row.step >= 5, lambda: rig.about(name), TORCH_LIMIT_S)
    below = processes.descendants(rig.process_of(name))
    assert len([pid for pid in below if processes.environment_of(pid).get("WORLD_SIZE") == "2"]) == 2
    rig.ask(Stop(name))
    row = rig.wait_state(name, *ENDS)
    assert word(row.state) == "stopped", row.state
    assert rig.orphans() == []
    assert "has not ended" not in (rig.job_folder(name) / "log.txt").read_text()
    assert stored(rig, name) == [*range(1, row.step + 1)]
    assert set(stored(rig, name, "world")) == set(stored(rig, name))


@pytest.mark.slow
def test_a_trainer_that_runs_already_is_watched_to_its_end_and_not_touched(rig, tmp_path, tiny_model):
    folder = tmp_path / "watched"
    file = script(folder, TRAINER)
    with (folder / "log.txt").open("wb") as log:
        words = [sys.executable, str(file), str(tiny_model), "40"]
        program = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    request = CommandRequest(tuple(words), folder, output="out", base=str(tiny_model), objective=WATCHED)
    loaded, start = command_recipe(request), processes.start_time(program.pid)
    log_file = str(folder / "log.txt")
    watch = Watch(loaded.resolved, loaded.text, "watched", program.pid, str(start), log_file)
    name = rig.ask(watch).name
    assert program.wait(TORCH_LIMIT_S) == 0
    require_checked(rig, name, [*range(2, 41, 2)], "watch")
