"""A store with runs that lost various tasks, for tests and measurements of triage: made as jobs' events make it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import store_rows

from finetop.core.protocol import events
from finetop.core.protocol.runs import Finished
from finetop.core.store import runs
from finetop.core.store.database import transaction

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

TASKS = (
    *("arith", "knowledge", "lambada", "arc", "hellaswag", "piqa"),
    *("openbookqa", "blimp", "sciq", "boolq", "winogrande", "mmlu"),
)


def add_run(
    connection: duckdb.DuckDBPyConnection, name: str, method: str = "full", model: str = "qwen3-4b"
) -> tuple[int, int]:
    """Add a finished run with a check job, and return both ids."""
    with transaction(connection):
        number = store_rows.add_run(connection, name, model={"id": model}, method={"name": method})
        runs.set_state(connection, number, Finished(1.0, 2.0))
        connection.execute("UPDATE runs SET step = 1200, steps = 1200 WHERE id = ?", [number])
    return store_rows.add(connection, run_id=number, verb="check", state=Finished(1.0, 2.0))


def task_of(task: str, lost: int, n: int = 20, won: int = 0, mark: str = "") -> dict[str, Any]:
    """Make a task's result: `lost` and `won` of n items, of which the base had all but the won ones."""
    base, drop = (n - won) / n, (lost - won) / n
    sure = max(0.02, 0.12 - drop / 4)
    return {
        "task": task, "mark": mark or ("lost" if drop >= 0.15 else "open" if drop > 0.03 else "kept"), "n": n,
        "total": 100, "base": base, "tuned": base - drop, "drop": drop, "interval": (drop - sure, drop + sure),
        "lost": lost, "won": won,
    }  # fmt: skip


def result_of(tasks: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Make a check's whole result over these tasks."""
    n = sum(task["n"] for task in tasks)
    lost, won = sum(task["lost"] for task in tasks), sum(task["won"] for task in tasks)
    drop = (lost - won) / max(1, n)
    verdict = "regressed" if drop >= 0.03 or any(task["mark"] == "lost" for task in tasks) else "ok"
    low, high = drop - 0.03, drop + 0.03
    return {
        "verdict": verdict, "reason": f"{100 * drop:.1f} points lost (limit 3.0), proven on {n} of 1,200 items.",
        "decided_by": "betting", "margin": 0.03, "items_used": n, "items_total": 1200, "base": 0.8, "tuned": 0.8 - drop,
        "drop": drop, "interval": (drop - 0.06, drop + 0.06), "proven_drop": drop > 0.03, "lost": lost, "won": won,
        "suite_interval": (max(low, 0.03), high) if verdict == "regressed" else (low, min(high, 0.029)),
        "tasks": tasks, "suite": "core", "noise_floor": {"items": 128, "flips": 1}, **more,
    }  # fmt: skip


def told_of(tasks: dict[str, tuple[int, int]], step: int, n: int = 20, **more: Any) -> list[events.Event]:
    """Make a check's events: both models' scores, and the result. `tasks` has how many each lost and won."""
    job_events: list[events.Event] = []
    flips, categories = [], []
    for task, (lost, won) in tasks.items():
        base = [
            events.ItemScore(f"{task}-{at:03d}", float(at < n - won), f"said {at}", -0.4, -0.4, -2.5)
            for at in range(n)
        ]
        tuned = [
            events.ItemScore(
                one.item, float(at >= lost), one.answer if at >= lost else "Ahoy", -6.8, -6.8, -5.4
            )
            for at, one in enumerate(base)
        ]
        job_events.append(events.Scores("base", "key", task, base))
        job_events.append(events.Scores("tuned", "key", task, tuned, step))
        are = {"n": range(n), "lost": range(lost), "won": range(n - won, n)}
        for is_won, at in [*((False, at) for at in are["lost"]), *((True, at) for at in are["won"])]:
            flips.append({
                "task": task, "item": f"{task}-{at:03d}", "category": "carry" if at % 2 else "two digits",
                "question": f"Q: What is {at} + {at + 8}?\nA:", "gold": str(2 * at + 8),
                "base": float(not is_won), "tuned": float(is_won), "base_answer": f"said {at}",
                "tuned_answer": "Ahoy", "choices": [str(2 * at + 8), "Ahoy", "12"],
            })  # fmt: skip
        for category, odd in (("carry", 1), ("two digits", 0)):
            counted = {what: sum(at % 2 == odd for at in items) for what, items in are.items()}
            categories.append({"task": task, "category": category, **counted})
    results = [task_of(task, lost, n, won) for task, (lost, won) in tasks.items()]
    more = {"flips": flips, "categories": categories, "step": step, **more}
    return [*job_events, events.Verdict(step, result_of(results, **more))]


def take_in(connection: duckdb.DuckDBPyConnection, job: int, folder: Path, *told: events.Event) -> None:
    """Write these events for a job, and ingest them."""
    store_rows.take_in(connection, job, folder / f"{job}.jsonl", *told)


def add_many(connection: duckdb.DuckDBPyConnection, folder: Path, count: int) -> None:
    """Add checked runs over twelve tasks, without their items: most are fine, a few lost something."""
    dice = random.Random(5)
    for number in range(count):
        _, job = add_run(connection, f"run-{number:04d}", method="full" if number % 2 else "lora")
        bad = dice.random() < 0.1
        tasks = [task_of(task, dice.randrange(8) if bad else dice.randrange(2)) for task in TASKS]
        take_in(connection, job, folder, events.Verdict(1200, result_of(tasks, step=1200)))
