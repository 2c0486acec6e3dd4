"""The whole check of a healthy tuned model on six public benchmarks, against the harness on both models.

    FINETOP_TEST_DATA=DATA python tests/bench/core_check.py --tuned CHECKPOINT [--items 500] [--batch-size 8]
                                                            [--stock SECONDS]

The tasks are those of the suite `core`, from local files. The check runs in a job's own process, loading included: with
an empty cache, then with the base's scores in it. The harness's stock model scores the same items on the base model
once, or every n-th of them (--every) with the item time scaled up; or not at all if its time is known (--stock). Both
models would cost it twice that (the tuned one, with its adapter, a little more). CPU seconds, user and system, of each
process. "Base cached" uses what the first check scored.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench

from finetop.core.models import demo_model
from finetop.core.protocol.check_result import read
from finetop.core.protocol.events import Verdict
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare as prepare_home
from finetop.core.wording.verdicts import verdict_line

TASKS = dict.fromkeys(("arc_easy", "piqa", "hellaswag", "lambada_openai", "openbookqa", "blimp"), "acc_norm")
TASKS |= {"lambada_openai": "acc", "blimp": "acc"}
STOCK = """
import json, sys
from pathlib import Path
import torch, yaml
import lm_eval
from lm_eval.models.huggingface import HFLM
model, data, batch_size, chosen = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(Path(sys.argv[4]).read_text())
configs = []
for name in chosen:
    config = yaml.safe_load((data / "lm_eval_tasks" / "open" / f"rx_{name}.yaml").read_text())
    files = config["dataset_kwargs"]["data_files"]
    config["dataset_kwargs"]["data_files"] = {split: str(data / path) for split, path in files.items()}
    configs.append(config)
stock = HFLM(pretrained=model, dtype="float32", batch_size=batch_size, device=sys.argv[6])
samples = {f"rx_{name}": indices for name, indices in chosen.items()}
found = lm_eval.simple_evaluate(stock, tasks=configs, samples=samples, log_samples=False, bootstrap_iters=0)
Path(sys.argv[5]).write_text(json.dumps({name: {k: v for k, v in values.items() if isinstance(v, float)}
                                         for name, values in found["results"].items()}))
"""


def write_suite(home: Home, data: Path, items: int) -> None:
    lines = ["suite: 1", "name: core-local", "tasks:"]
    for name, metric in TASKS.items():
        file = data / "lm_eval_tasks" / "open" / f"rx_{name}.yaml"
        lines.append(f"  - {{name: {name}, yaml: {file}, metric: {metric}, cap: {items}}}")
    (home.root / "suites").mkdir(exist_ok=True)
    (home.root / "suites" / "core-local.yaml").write_text("\n".join(lines) + "\n")


def write_job(home: Home, base: str, number: int) -> Path:
    recipe = {
        "recipe": 1, "name": "bench", "model": {"id": base, "dtype": "float32"}, "method": {"name": "lora"},
        "objective": {"name": "sft"}, "check": {"general": {"suite": "core-local"}},
    }  # fmt: skip
    checkpoint = "checkpoints/step-000001"
    return bench.write_job(home, "0001-bench", recipe, "check", number, checkpoint=checkpoint, step=1)


def check(folder: Path) -> tuple[float, Any]:
    """Run one check job; return its CPU seconds and its result."""
    spent = bench.cpu_seconds([*bench.RUN_JOB, str(folder)])
    return spent, read(bench.read_events(folder, Verdict)[0].result)


def main() -> int:
    options = bench.options(
        __doc__,
        tuned=({"type": Path, "required": True}, "the adapter of a healthy run"),
        items=(500, "of each task"),
        batch_size=("8", "of the harness's model"),
        every=(1, "the harness scores every n-th item"),
        stock=(float, "CPU seconds of the harness's model, known already"),
        home=(str, "a home folder with the model in it (else a new one)"),
    )
    data = bench.data_folder()
    with tempfile.TemporaryDirectory() as folder:
        models_home = Home(Path(options.home or folder))
        prepare_home(models_home)
        base = str(demo_model.find(None, models_home, EventLog(Path(folder) / "events.jsonl"))[0])
        home = Home(Path(folder) / "home")
        prepare_home(home)
        write_suite(home, data, options.items)
        checkpoint = home.root / "runs" / "0001-bench" / "checkpoints" / "step-000001"
        shutil.copytree(options.tuned.resolve(), checkpoint)
        first, outcome = check(write_job(home, base, 1))
        print(f"{verdict_line(outcome)}\nbase not cached  {first:8.0f} s of CPU", flush=True)
        cached_items = {name: kept_items(home, name) for name in ("base", "tuned")}
        print(f"items scored in it, of {outcome.items_total} to decide on: {cached_items}", flush=True)
        second, outcome = check(write_job(home, base, 2))
        shutil.rmtree(home.root / "runs" / "0001-bench" / "jobs")
        print(f"again, all cached{second:8.0f} s", flush=True)
        # score the tuned model again, as after another training: only its scores are removed from the cache
        for file in home.scores.glob("*.jsonl"):
            with file.open("rb") as lines:
                key = json.loads(next(lines))["key"]
            if key["model"]["adapter"] is not None:
                file.unlink()
        third, outcome = check(write_job(home, base, 3))
        print(
            f"base cached      {third:8.0f} s   {outcome.items_scored} of {outcome.items_total} items",
            flush=True,
        )
        if options.stock is not None:
            tell_times(options.stock, first, third)
            return 0
        chosen = chosen_items(home, data, options.items)
        from finetop.core.models import devices

        words = [base, str(data), options.batch_size, f"{folder}/chosen.json", f"{folder}/out.json",
                 devices.pick_device()]  # fmt: skip
        run_stock = [sys.executable, "-W", "ignore", "-c", STOCK, *words]
        few = {name: numbers[:1] for name, numbers in chosen.items()}
        (Path(folder) / "chosen.json").write_text(json.dumps(few))
        start = bench.cpu_seconds(run_stock)
        some = {name: numbers[:: options.every] for name, numbers in chosen.items()}
        (Path(folder) / "chosen.json").write_text(json.dumps(some))
        stock = start + options.every * (bench.cpu_seconds(run_stock) - start)
        output = json.loads((Path(folder) / "out.json").read_text())
    print(
        f"harness, one model {stock:6.0f} s, of which {start:.0f} to start; {sum(map(len, some.values()))} items run\n"
    )
    tell_times(stock, first, third)
    for task in outcome.tasks:
        metric = TASKS[task.task]
        theirs = next((v for k, v in output[f"rx_{task.task}"].items() if k.startswith(f"{metric},")), None)
        print(f"{task.task:16} {metric:9} base: harness {theirs}, its items {task.total}, mark {task.mark}")
    return 0


def tell_times(stock: float, first: float, cached: float) -> None:
    """Compare the harness's CPU seconds for one model, doubled, with those of the check."""
    print(f"both models by the harness / check, base not cached  {2 * stock / first:5.1f}x   (wanted 5)")
    print(f"both models by the harness / check, base cached      {2 * stock / cached:5.1f}x   (wanted 10)\n")


def kept_items(home: Home, name: str) -> dict[str, int]:
    """Return the cached items of each task for the base or the tuned model, without the noise floor."""
    counts: dict[str, int] = {}
    for file in home.scores.glob("*.jsonl"):
        header, *lines = file.read_bytes().splitlines()
        key = json.loads(header)["key"]
        usual = key["task"]["name"] in TASKS and key["model"]["row_tokens"] in (512, 4096)
        if usual and (key["model"]["adapter"] is None) == (name == "base"):
            counts[key["task"]["name"]] = len(lines)
    return counts


def chosen_items(home: Home, data: Path, items: int) -> dict[str, list[int]]:
    """Return the numbers of the items that the check chose, by task, so that the harness scores the very same."""
    from finetop.core.check.statistics.item_order import cap_items
    from finetop.core.check.tasks.requests import build
    from finetop.core.check.tasks.suite import find_suite

    return {
        task.name: sorted(
            int(item.item)
            for item in cap_items((candidate.item for candidate in task.documents), items, seed=1)
        )
        for task in build(find_suite("core-local", home))
    }


if __name__ == "__main__":
    sys.exit(main())
