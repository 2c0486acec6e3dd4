"""A job for tests: writes numbered events, and the same to a side file that the product never reads.

    python fake_job.py JOB_FOLDER

What it does is set in the recipe's `about`: JSON with steps, pause_s, end ("ok", "die", "eat" all memory, "crash",
"hang", or the fields of an Ended event; with `once` only in the first attempt), `ends`: one for each training job of
the run, and the step `until` which jobs run that do not end well, `refuses`: the immediate error of a job that resumes,
garbage, `saved`: steps that get a checkpoint folder (or every `saves_every`), `best`: the one that is kept, and for its
checks `lost`: how many items of each task the tuned model lost, one number or one per step; of its remedies the
`fixed` ones are OK, and the first of them is confirmed; of its exports these formats are `refused`.
Measured as an approach, each row of the target gets a score from `f1`, each about new facts one from `news`.
`waits_at`: a step before which it waits for a file `go` in its folder,
with `ranks` as that many waiting processes, the last of them elsewhere; with `spins` it is busy meanwhile. `holds`:
verbs whose jobs wait for a file `go-VERB` in the run's folder. `until_file`: a file that ends it. `alarms`: of a step,
or of `each` other: kind, and whether it is over. `reads`: files that it reads as training data, as the real job does;
`tested`: one that its check would read. `parameters`: the number of its
model's parameters.
"""

import faulthandler
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.runtime.files import retry_file_work
from finetop.core.runtime.job_folder import home_of, read_spec, run_folder_of

RANK = str(Path(__file__).with_name("fake_rank.py"))
STEPS = 10**9  # more than any job takes


def main() -> int:
    folder = waited(Path(sys.argv[2])) if sys.argv[1] == "--wait" else Path(sys.argv[1])
    if folder is None:
        return 0
    spec = read_spec(folder)
    about = spec.recipe["about"]
    plan = json.loads(about) if about.startswith("{") else {}
    faulthandler.register(signal.SIGUSR2)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    log = event_log.EventLog(folder / "events.jsonl")
    let_go = run_folder_of(folder) / f"go-{spec.verb}"
    while spec.verb in plan.get("holds", ()) and not let_go.exists() and not stopping:
        time.sleep(0.01)  # between two looks
    if spec.verb == "chat":  # the real one: with a server as its side it needs no model
        os.execv(sys.executable, [sys.executable, "-m", "finetop.core.run_job", str(folder)])
    if spec.verb == "check":
        if stopping:
            log.write(events.Ended("stopped", "asked to stop; what was scored is kept", kind="asked"))
            return 0
        lost = plan.get("lost", 0)
        step = spec.args["step"]
        return check(log, lost[str(step)] if isinstance(lost, dict) else lost, step, spec.args)
    if spec.verb == "remedy":
        return remedy(log, plan, spec.args)
    if spec.verb == "export" and "export_dies" in plan and "retry" not in spec.args:
        half = Path(spec.args["to"]).parent / f".{Path(spec.args['to']).name}.partial"
        half.mkdir(parents=True)
        (half / "model.safetensors").write_bytes(b"w")
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.verb == "export" and "refused" in plan:
        return export(log, plan["refused"], spec.args)
    if spec.verb in ("approach", "measure"):
        return measure(log, plan, spec.args)
    with side_file(folder).open("a") as side:
        attempt = int(retry_file_work((folder / "attempt").read_text))
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "cpu")
        log.write(events.Started(1, attempt, os.getpid(), gpus, "float32", {"fake": "1"}))
        begun = spec.args.get("resume", {}).get("step")
        if begun is not None and "refuses" in plan:
            return ends_with(log, plan["refuses"])
        end = end_of(plan, folder, begun)
        steps = plan.get("steps", 10)
        last = steps if end == "ok" else plan.get("until", steps)
        log.write(events.Planned(steps, 1.0, 10, 0, 100, 1, plan.get("parameters", 1)))
        if plan.get("grandchild"):
            sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
            child = subprocess.Popen(sleep, start_new_session=True)
            (folder / "grandchild.txt").write_text(str(child.pid))
        for path in plan.get("reads", ()):
            read(log, path, folder)
        if "tested" in plan:
            read(log, plan["tested"], folder, "test")
        if begun is not None:
            log.write(events.Resumed(begun))
        for step in range(1 + (begun or 0), last + 1):
            if step == plan.get("waits_at"):
                wait_with(folder / "go", plan)
            lost = log.lost
            log.write(events.metrics(step, {"loss": 1.0 / step, "tokens": float(step), **more(step, plan)}))
            if log.lost == lost:
                side.write(f"{step}\n")
                side.flush()
            else:  # the disk is full, and the job reports it
                side_file(folder).with_suffix(".lost").touch()
            if "until_file" in plan and Path(plan["until_file"]).exists():
                side_file(folder).with_suffix(".done").touch()
                break
            if plan.get("garbage") and step % 7 == 0:
                with (folder / "events.jsonl").open("ab") as raw:
                    raw.write(b'{"n": broken\n\xff\xfe\n')
            alarms = plan.get("alarms", {})
            for kind, is_over in alarms.get(str(step), alarms.get("each", ())):
                log.write(events.Alarm(kind, step, f"{kind} at step {step}", is_over))
            if step == plan.get("tells"):
                tell_all(log, step, spec.args)
            is_done = step == plan.get("releases")  # with its GPU
            log.write(events.Phase("training", step, steps, "steps", 1.0, releases_gpu=is_done))
            if step in plan.get("saved", ()) or step % plan.get("saves_every", STEPS) == 0:
                save(log, folder, step)
            if stopping:
                save(log, folder, step)
                log.write_at_last(events.Ended("stopped", kind="asked"))
                return 0
            if step > plan.get("start", 0):
                time.sleep(plan.get("pause_s", 0.0))  # a step's time
    if isinstance(end, dict):
        return ends_with(log, end)
    if end == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "crash":
        print("ValueError: the loss is a cabbage")
        return 7
    if end == "eat":
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)) * 16)
    if end == "hang":
        time.sleep(600)  # until it is killed
    if end == "failed":
        log.write_at_last(events.Ended("failed", "bad data", "Mend row 17.", 2))
        return 2
    if "best" in plan:
        log.write(events.Best(plan["best"], f"step {plan['best']}: the last one that is OK"))
    if "saved" not in plan:
        path = f"checkpoints/step-{steps:06d}"
        (run_folder_of(folder) / path).mkdir(parents=True, exist_ok=True)
        log.write(events.Checkpoint(steps, path, 10, "full"))
    log.write_at_last(events.Ended("finished"))
    log.sync()
    return 0


def read(log: event_log.EventLog, path: str, folder: Path, use: Any = "train") -> None:
    """Read a source, and write the events that the real job writes for it."""
    from finetop.core.data import source_record, sources
    from finetop.core.recipe.schema import Source
    from finetop.core.runtime.home import Home

    source = Source(path=path)
    record = source_record.begin(source)
    rows = sources.read(source, Home(home_of(folder)), ("conversation",), record)
    log.write(source_record.record(source, use, record, run_folder_of(folder)))
    if use == "test":
        return
    name, number = source_record.name_of(source), len(rows)
    log.write(events.DataRead(name, number, number, 0, 0, 9, number, record.contents.content))


def measure(log: event_log.EventLog, plan: dict[str, Any], args: dict[str, Any]) -> int:
    """Report an approach's measurement: scores from the plan for each row of the target, and of the new facts."""
    if "refuses" in plan:
        return ends_with(log, plan["refuses"])

    def rows(key: str) -> dict[str, list[events.RowScore]]:
        scores = [events.RowScore(str(at), value, 1.0) for at, value in enumerate(plan.get(key, []))]
        return {"token_f1": scores} if scores else {}

    log.write(
        events.ApproachMeasured(
            approach=args["approach"], step=args.get("step"), scores=rows("f1"),
            prompt_tokens=plan.get("prompt", 20.0), queries=[events.QueryPrice("0", [plan.get("latency", 0.5)] * 3)],
            price_of="CPU", memory_gib=1.5, memory_of="host", index_s=plan.get("index_s", 0.0),
            news=rows("news_learned" if args["learns_news"] else "news"), news_after=rows("news_after"),
            news_s=plan.get("news_s"),
        )
    )  # fmt: skip
    log.write_at_last(events.Ended("finished"))
    return 0


def side_file(folder: Path) -> Path:
    """Return the file that repeats what the events contain: in the job's folder, or where the test wants it."""
    elsewhere = os.environ.get("FINETOP_TEST_SIDE")
    return Path(elsewhere) / f"{folder.name}.txt" if elsewhere else folder / "side.txt"


def wait_with(file: Path, plan: dict[str, Any]) -> None:
    """Wait for a file, alone or as the ranks of one job."""
    world = {"WORLD_SIZE": str(plan.get("ranks", 0))}
    ranks = [
        subprocess.Popen([sys.executable, RANK, str(file)], env={**os.environ, **world, "RANK": str(rank)})
        for rank in range(plan.get("ranks", 0))
    ]
    while not file.exists():
        time.sleep(0.0 if plan.get("spins") else 0.01)  # between two looks
    for rank in ranks:
        rank.wait()


def end_of(plan: dict[str, Any], folder: Path, begun: int | None) -> str | dict[str, Any]:
    """Return how this training job of the run ends."""
    if "ends" in plan:
        number = len(list(folder.parent.glob("*-train")))
        return plan["ends"][number - 1] if number <= len(plan["ends"]) else "ok"
    return "ok" if plan.get("once") and begun is not None else plan.get("end", "ok")


def ends_with(log: event_log.EventLog, facts: dict[str, Any]) -> int:
    ended = events.Ended("failed", **facts)
    log.write(ended)
    return ended.exit_code


def save(log: event_log.EventLog, folder: Path, step: int) -> None:
    """Make a checkpoint folder that training can resume from, and report it."""
    path = f"checkpoints/step-{step:06d}"
    (run_folder_of(folder) / path / "state").mkdir(parents=True, exist_ok=True)
    (run_folder_of(folder) / path / "weights").write_bytes(b"w")
    (run_folder_of(folder) / path / "manifest.json").write_text('{"files": {"weights": 1}}')
    log.write(events.Checkpoint(step, path, 10, "full"))


def tell_all(log: event_log.EventLog, step: int, args: dict[str, Any]) -> None:
    """Write one of each event that real training writes, and an intermediate check."""
    log.write(events.DataRead("rows.jsonl", 10, 9, 1, 2, 77, 300, "0" * 64))
    log.write(events.FirstRow([("What?", False), (" That.", True)]))
    log.write(events.Sample(step, 0, "What?", "That."))
    log.write(events.metrics(step, {"grad_norm": math.nan, "eval_loss": 1.5}))
    log.write(events.Alarm("spike", step, f"the loss rose at step {step}"))
    judge(log, 30, step, {**args, "claim": 1}, step)
    log.write(events.Best(step, f"step {step}: the last one that is OK"))


def waited(file: Path) -> Path | None:
    """Wait for a job as the real spare does; `FINETOP_TEST_DIES` makes it die instead."""
    if os.environ.get("FINETOP_TEST_DIES"):
        return None
    file.write_text(json.dumps({"pid": os.getpid()}))
    line = sys.stdin.readline().strip()
    return Path(line) if line else None


def more(step: int, plan: dict[str, Any]) -> dict[str, float]:
    """Return the other metrics of a real trainer, and print its log line, if the plan has `start`."""
    if "start" not in plan:
        return {}
    wave = math.sin(step * 12.9898) * 0.5
    values = {
        "grad_norm": 0.4 + 0.1 * wave,
        "learning_rate": 1e-4 * (1 - step / plan["steps"]),
        "tokens_per_s": 4100 + 80 * wave,
        "memory_gib": 3.2,
        "eval_loss" if step % 100 == 0 else "epoch": 1.2,
    }
    if step % 50 == 0:
        values["drift"] = step / 20_000
    line = f"step {step}/{plan['steps']}: loss {1.0 / step:.4f}, grad_norm {values['grad_norm']:.4g}"
    print(line, flush=True)
    return values


def check(log: event_log.EventLog, lost: int, step: int, args: dict[str, Any]) -> int:
    judge(log, lost, step, args)
    log.write_at_last(events.Ended("finished"))
    return 0


def export(log: event_log.EventLog, refused: list[str], args: dict[str, Any]) -> int:
    """Report GGUF files in the requested formats, of which some are REGRESSED and refused."""
    sys.path.append(str(Path(__file__).parent))  # python -P leaves it out
    from exported_files import LOST, exported

    from finetop.core.features.export import gguf_log, wording as exports

    place = {"step": args["step"], "folder": args["to"]}
    files = [
        exported(quant, LOST, standing="refused", **place) if quant in refused else exported(quant, **place)
        for quant in args["quants"].split(",")
    ]
    print(f"exported it as GGUF: {args['to']}")
    for file in files:
        log.write(events.ExportJudged(file))
        print(f"{exports.DETAIL}{exports.line(file)}")
    facts = [{"file": file.name, "quant": file.quant, "standing": file.standing} for file in files]
    proof = {"notes": ["a long one " * 500]}
    print(gguf_log.line_of({"proof": proof, "files": facts}), flush=True)
    lost = [file for file in files if file.standing == "refused"]
    how = ("failed", exports.refusal(lost), "Kept for inspection.", 1) if lost else ("finished",)
    log.write(events.Ended(*how))
    return int(bool(lost))


def remedy(log: event_log.EventLog, plan: dict[str, Any], args: dict[str, Any]) -> int:
    """Write candidates, later ones keeping less of the gain: the fixed ones, and others."""
    log.write(events.Started(1, 1, os.getpid(), "cpu", "float32", {"fake": "1"}))
    names = [candidate["name"] for candidate in args["candidates"]]
    labels = {"now": "now", **{candidate["name"]: candidate["label"] for candidate in args["candidates"]}}
    fixed = [name for name in names if name in plan.get("fixed", ())]
    for at, name in enumerate(["now", *names]):
        log.write(events.Phase(f"{labels[name]}: scoring tuned", 10, 336, "items", 5.0))
        log.write(
            events.RemedyTried(
                step=args["step"], name=name, remedy=name.partition("-")[0], label=labels[name],
                made_of=args["step"], verdict="ok" if name in fixed else "regressed", reason="as planned",
                target={"nats_per_token": 1.1 + 0.2 * at}, kept={"nats_per_token": 1 - at / 10},
                gain=None if name == "now" else 1 - at / 10, drop=0.004 if name in fixed else 0.09,
                interval=(-0.04, 0.05) if name in fixed else (-0.01, 0.19),
                decided=(-0.01, 0.02) if name in fixed else (0.05, 0.13), items_used=64, items_total=336,
                tasks=[("arithmetic", 0.22, "lost"), ("knowledge", 0.0, "kept")],
                weights="" if name == "now" else "ab" * 32, seconds=1.5,
            )
        )  # fmt: skip
    for name in fixed[:1]:
        numbers = {"drop": 0.001, "decided": (-0.02, 0.02), "items_used": 128, "items_total": 336}
        numbers |= {"verdict": "ok", "reason": "as planned", "alpha": 0.05 / 9}
        log.write(events.RemedyConfirmed(step=args["step"], name=name, **numbers))
    log.write_at_last(events.Ended("finished"))
    return 0


def judge(
    log: event_log.EventLog, lost: int, step: int, args: dict[str, Any], of_step: int | None = None
) -> None:
    """Write a check whose base is right on 90 of 100 items per task, and whose tuned model lost `lost` of each 90."""
    from finetop.core.check.statistics.conclude import check_pairs
    from finetop.core.check.statistics.item_order import Item
    from finetop.core.check.statistics.plan import make_plan
    from finetop.core.check.statistics.verdict import PairedItem, TaskPlan

    tasks = [TaskPlan(name, "acc", 0.25) for name in ("arithmetic", "knowledge")]
    keys = [(task.name, f"{task.name}-{i:03d}") for task in tasks for i in range(100)]
    items = [Item(task, key, key) for task, key in keys]
    base = {item.key: float(int(item.item[-3:]) < 90) for item in items}
    tuned = {item.key: float(lost <= int(item.item[-3:]) < 90) for item in items}
    plan = make_plan(tasks, items, base, seed=1, cap=None)
    pairs = [PairedItem(one.task, one.item, one.item, base[one.key], tuned[one.key]) for one in plan.order]
    for model, scores in (("base", base), ("tuned", tuned)):
        for task in tasks:
            own = [(item.item, scores[item.key]) for item in items if item.task == task.name]
            made = [
                events.ItemScore(key, score, "12" if score else "17", -0.4, -0.4, -2.0) for key, score in own
            ]
            log.write(events.Scores(model, f"key-{model}", task.name, made, of_step))
    result = json.loads(msgspec.json.encode(check_pairs(plan, pairs)))
    target = {"nats_per_token": {"base": 2.9, "tuned": 1.1, "low": -2.0, "high": -1.6, "rows": 60}}
    claim = {"claim": args.get("claim", 0), "watch": args.get("watch", False)}
    log.write(events.Verdict(step, {**result, **claim, "suite": "quick", "step": step, "target": target}))


if __name__ == "__main__":
    sys.exit(main())
