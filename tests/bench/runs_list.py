"""The list of runs with 100,000 runs and 10 million metric rows stored: how long a page takes, for any query.

    python tests/bench/runs_list.py [--runs 100000] [--steps 10] [--repeats 30] [--home DIR]

A store as the supervisor makes it: recipes of 2 kB, ten metrics per run, checks, tags. Each kind of page is requested
from the store (wall time and CPU of the process) and, as a whole, from a real supervisor through its socket, as the app
does. `--home` keeps the store for reuse.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import msgspec
from rig import RECIPE, Rig

from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.run_columns import word_of
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home, prepare
from finetop.core.store import recipe_settings, run_list
from finetop.core.store.database import open_store

KEYS = (
    "loss", "eval_loss", "grad_norm", "learning_rate", "epoch", "tokens_per_s", "memory_gib", "drift", "reward",
    "kl",
)  # fmt: skip
ROWS = 100  # per page
ASKED = {
    "plain": "", "by text": "legal", "by method and tag": "method:pissa tag:ablation", "by metric": "loss<1.2",
    "by setting": "train.learning_rate<=1e-4", "by verdict": "verdict:regressed", "by age": "age<1d",
    "sorted by metric": "sort:loss", "filtered and sorted": "loss<1.2 sort:-eval_loss",
    "sorted by setting": "sort:train.learning_rate", "grouped": "group:method",
    "grouped by setting": "group:train.seed sort:loss", "that hides all": "loss<1.2 name:zzz",
}  # fmt: skip
MARKS = {
    "@lr@": "['0.0001', '0.0002', '0.00001', '0.00005'][(i * 7) % 4 + 1]", "@seed@": "(i % 5)::VARCHAR",
    "@rank@": "[8, 16, 32][(i // 3) % 3 + 1]::VARCHAR",
}  # fmt: skip
RUN = """
INSERT INTO runs (id, name, model, method, objective, created, folder, recipe, source, state, rank, ended, step, steps,
                  last, brief, tags)
SELECT i, ['support', 'legal', 'sql', 'math'][i % 4 + 1] || '-' || i, 'smollm2-135m-instruct',
    ['lora', 'full', 'pissa'][i % 3 + 1], 'sft', $began + i, 'runs/' || i,
    {recipe}, '',
    '{"type":"finished","since":1.0,"ended":' || ($began + i + 100) || '}', if(i % 5000 = 0, 0, 3), $began + i + 100,
    1200, 1200,
    '{"epoch":2.0,"grad_norm":' || round(random(), 4) || ',"learning_rate":0.0001,"loss":' || round(random() * 3, 4)
        || ',"memory_gib":5.2,"tokens_per_s":4103.0,"eval_loss":' || round(random() * 3, 4) || ',"drift":0.02}',
    '{"check_id":' || i || ',"verdict":"' || if(i % 50 = 0, 'regressed', 'ok') || '","reason":"","step":1200,"drop":'
        || round(random() * 5 - 1, 2) || ',"margin":3.0,"real_drop":false,"items_used":412,"items_total":3000,'
        || '"suite":"quick","at":1e9,"worst":[{"task":"arith","drop":2.0,"mark":"open"}],'
        || '"target":{"exact_match":[0.7,0.9]},"accepted":"","claim":0,"watch":false}',
    if(i % 10 = 0, '["ablation"]', '[]')
FROM range($first, $end) numbers(i)
"""
SETTINGS = """
INSERT INTO settings SELECT i, key, {word} AS filled, if(word[1] = '@', filled::DOUBLE, number)
FROM range($first, $end) numbers(i), (SELECT unnest($rows, recursive := true))
"""


def filled(text: str) -> str:
    """Return SQL that puts a run's own values into a text with marks."""
    for mark, value in MARKS.items():
        text = f"replace({text}, '{mark}', {value})"
    return text


def make(home: Home, runs: int, steps: int) -> None:
    """Fill a home's store."""
    prepare(home)
    resolved = resolve_text(RECIPE).resolved
    resolved["train"] |= {"learning_rate": "@lr@", "seed": "@seed@"}
    resolved["method"]["rank"] = "@rank@"
    recipe = msgspec.json.encode(resolved).decode()
    for mark in MARKS:
        recipe = recipe.replace(f'"{mark}"', mark)
    settings = [
        {"key": key, "word": word_of(value), "number": value if isinstance(value, float) else None}
        for key, value in recipe_settings.flat(resolved).items()
    ]
    connection = open_store(home.database)
    for first in range(1, runs + 1, 10_000):
        end = min(first + 10_000, runs + 1)
        values = {"recipe": recipe, "began": time.time() - runs - 1000, "first": first, "end": end}
        connection.execute(RUN.replace("{recipe}", filled("$recipe")), values)
        rows = {"rows": settings, "first": first, "end": end}
        connection.execute(SETTINGS.format(word=filled("word")), rows)
        connection.execute(
            "INSERT INTO metrics SELECT i, key, s * 100, 1e9 + i, random(), NULL FROM range(?, ?) a(i),"
            " (SELECT unnest(?) AS key), range(?) c(s) ORDER BY 1, 2, 3",
            [first, end, list(KEYS), steps],
        )
    connection.close()


def timed(ask: Callable[[str], Any], text: str, repeats: int) -> tuple[list[float], list[float]]:
    """Time one query, in milliseconds: wall, and CPU of this process."""
    walls, cpus = [], []
    for _ in range(repeats + 1):  # the first warms up
        wall, cpu = time.perf_counter(), time.process_time()
        ask(text)
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return walls[1:], cpus[1:]


def table(title: str, timings: dict[str, tuple[list[float], list[float]]]) -> None:
    print(f"\n{title:<24} {'p50':>8} {'p95':>8} {'cpu p50':>8} {'cpu min':>8}  ms")
    for name, (walls, cpus) in timings.items():
        p95 = sorted(walls)[min(len(walls) - 1, round(len(walls) * 0.95))]
        wall, cpu = bench.medians(zip(walls, cpus, strict=True))
        print(f"{name:<24} {wall:8.1f} {p95:8.1f} {cpu:8.1f} {min(cpus):8.1f}")


def main() -> int:
    args = bench.options(__doc__, runs=100_000, steps=10, repeats=30, home=Path)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(args.home or Path(folder) / "home")
        if not home.database.exists():
            make(home, args.runs, args.steps)
        connection = open_store(home.database)

        def of_store(text: str) -> RunsAnswer:
            return run_list.page(
                connection, filter=text, sort="needs_you", offset=0, limit=ROWS, revision=0, now=time.time()
            )

        total = of_store("").total
        (metrics,) = connection.execute("SELECT count(*) FROM metrics").fetchone() or (0,)
        size = home.database.stat().st_size / 1e6
        print(f"{total:,} runs, {metrics:,} metric rows, {size:.0f} MB; a page of {ROWS}")
        table("from the store", {name: timed(of_store, text, args.repeats) for name, text in ASKED.items()})
        last = lambda text: run_list.page(  # noqa: E731
            connection, filter="", sort=text, offset=total - ROWS, limit=ROWS, revision=0, now=time.time()
        )
        table(
            "the last page", {sort: timed(last, sort, args.repeats) for sort in ("needs_you", "name", "loss")}
        )
        connection.close()
        rig = Rig(home)
        try:
            rig.up(FINETOP_SPARE="0")
            ask = lambda text: rig.ask(Runs(text, limit=ROWS))  # noqa: E731
            table("from a supervisor", {name: timed(ask, text, args.repeats) for name, text in ASKED.items()})
        finally:
            rig.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
