"""A store with runs that lost various tasks, for tests and measurements of triage: made as jobs' events make it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import store_rows

from finetop.core.protocol import events
from finetop.core.protocol.runs import Finished
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

TASKS = (
    *("arith", "knowledge", "lambada", "arc", "hellaswag", "piqa"),
    *("openbookqa", "blimp", "sciq", "boolq", "winogrande", "mmlu"),
)


def recipe_of(method: str = "full", model: str = "qwen3-4b") -> dict[str, Any]:
    return {"model": {"id": model}, "method": {"name": method}, "objective": {"name": "sft"}}


def add_run(connection: duckdb.DuckDBPyConnection, name: str, **recipe: str) -> tuple[int, int]:
    """Add a finished run with a check job, and return both ids."""
    with transaction(connection):
        number = runs.next_run_id(connection)
        runs.add_run(
            connection, run_id=number, name=name, folder=f"runs/{number:04d}-{name}", recipe=recipe_of(**recipe),
            source="",
        )  # fmt: skip
        job, _ = jobs.add_job(connection, run_id=number, verb="check", args={}, priority=5)
        jobs.set_state(connection, job, Finished(1.0, 2.0))
        runs.set_state(connection, number, Finished(1.0, 2.0))
        connection.execute("UPDATE runs SET step = 1200, steps = 1200 WHERE id = ?", [number])
    return number, job


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
    return {
        "verdict": verdict,
        "reason": f"{100 * drop:.1f} points lost (limit 3.0), proven on {n} of 1,200 items.",
        "decided_by": "betting",
        "margin": 0.03,
        "items_used": n,
        "items_total": 1200,
        "base": 0.8,
        "tuned": 0.8 - drop,
        "drop": drop,
        "interval": (drop - 0.06, drop + 0.06),
        "suite_interval": (max(drop - 0.03, 0.03), drop + 0.03)
        if verdict == "regressed"
        else (drop - 0.03, min(drop + 0.03, 0.029)),
        "proven_drop": drop > 0.03,
        "lost": lost,
        "won": won,
        "tasks": tasks,
        "suite": "core",
        "noise_floor": {"items": 128, "flips": 1},
        **more,
    }


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
                score.item, float(at >= lost), "Ahoy" if at < lost else score.answer, -6.8, -6.8, -5.4
            )
            for at, score in enumerate(base)
        ]
        job_events += [
            events.Scores("base", "key", task, base),
            events.Scores("tuned", "key", task, tuned, step),
        ]
        for at in [*range(lost), *range(n - won, n)]:
            is_won = at >= n - won
            flips.append(
                {
                    "task": task, "item": f"{task}-{at:03d}", "category": "carry" if at % 2 else "two digits",
                    "question": f"Q: What is {at} + {at + 8}?\nA:", "gold": str(2 * at + 8),
                    "base": float(not is_won), "tuned": float(is_won), "base_answer": f"said {at}",
                    "tuned_answer": "Ahoy", "choices": [str(2 * at + 8), "Ahoy", "12"],
                }
            )  # fmt: skip
        for category, odd in (("carry", 1), ("two digits", 0)):
            counted = {
                "n": sum(at % 2 == odd for at in range(n)),
                "lost": sum(at % 2 == odd for at in range(lost)),
                "won": sum(at % 2 == odd for at in range(n - won, n)),
            }
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
