"""Do selectors beat random rows if half of a training set is corrupted? Real runs, three seeds each.

    python tests/bench/selection.py [--home DIR] [--model DIR] [--seeds 3]

Rows: ../shared/data/kb_contoso/qa_train.jsonl (questions and answers on products that no model knows). In a random half
of them, drawn once, the answers are swapped among each other. Each selector then takes half of the rows, and a LoRA is
trained on them, for the same steps; random rows also with an eighth, a quarter and all, for the data curve. The target
is the loss of the right answers of qa_test.jsonl, in nats per token, at the end: not seen in training, none corrupted.
Retained is the mean change of each run's check on the quick suite, in points.

It continues where it was stopped: the runs are a sweep of its home, and finished ones are kept.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import bench
import msgspec

from finetop.core.client.connection import Client
from finetop.core.features.select import curve
from finetop.core.features.select.request import Ask, Doing, Selected, select as asked
from finetop.core.features.sweeps import selection_curve
from finetop.core.features.sweeps.commands.sweep import print_curves
from finetop.core.protocol import tags
from finetop.core.protocol.messages.runs import Sweeps, SweepsAnswer
from finetop.core.protocol.messages.submit import SubmitSweep, SweepRun
from finetop.core.recipe.load import Loaded, load_recipe
from finetop.core.runtime.home import Home, prepare

DATA = Path(os.environ.get("FINETOP_TEST_DATA", "../shared/data")) / "kb_contoso"
SWEEP = "corrupted"
STEPS, BATCH, RATE = 40, 8, 5e-4
RECIPE = """\
recipe: 1
extends: lora
name: {name}
model: {{id: {model}}}
data: {{train: [{{path: {train}}}], eval: [{{path: {test}}}], max_tokens: 128}}
train: {{epochs: null, max_steps: {steps}, batch_size: {batch}, grad_accumulation: 1, learning_rate: {rate},
  eval_batch_size: 103, eval_every: 1.0, save_every: 1.0, resumable: false}}
samples: {{count: 0}}
drift: {{every: null}}
check: {{general: {{suite: quick}}}}
"""


def corrupt(source: Path, target: Path, manifest: Path) -> set[int]:
    """Swap the answers of half the rows among each other; return the lines whose answer is now another's."""
    rows = bench.read_rows(source)
    chosen = random.Random(0).sample(range(len(rows)), len(rows) // 2)
    answers = [rows[place]["answer"] for place in chosen]
    moved = answers[1:] + answers[:1]
    for _ in range(1000):  # until nobody has an answer with the text of its own
        same = [at for at, (old, new) in enumerate(zip(answers, moved, strict=True)) if old == new]
        if not same:
            break
        for at in same:
            other = random.Random(at).randrange(len(moved))
            moved[at], moved[other] = moved[other], moved[at]
    swapped = dict(zip(chosen, moved, strict=True))
    answered = ((row["question"], swapped.get(place, row["answer"])) for place, row in enumerate(rows))
    bench.write_rows(target, ({"prompt": question, "completion": answer} for question, answer in answered))
    lines = {place + 1 for place in chosen if swapped[place] != rows[place]["answer"]}
    manifest.write_text(json.dumps(sorted(lines)))
    return lines


def clean(source: Path, target: Path) -> None:
    rows = bench.read_rows(source)
    bench.write_rows(target, ({"prompt": row["question"], "completion": row["answer"]} for row in rows))


def queue(base: Loaded, home: Home, seeds: int, recipe: str) -> None:
    """Select the rows of every point, and queue the runs."""
    half, less = curve.Amount(share=0.5), (curve.Amount(share=0.125), curve.Amount(share=0.25))
    wanted = curve.wanted_of(curve.selectors_of("all"), [half], seeds)
    wanted += curve.wanted_of([tags.CONTROL], less, seeds)
    ask = Ask(msgspec.to_builtins(base.recipe.data.train[0]), wanted, msgspec.to_builtins(base.recipe.model))
    selections = []
    for message in asked(ask, home):
        if isinstance(message, Selected):
            selections.append(message)
        elif not isinstance(message, Doing):
            print(curve.left_out(message))
    every = selections[0].of
    points = curve.points(
        base, selections, every, seeds, lambda sets: load_recipe(recipe, sets), equal="steps", with_all=True
    )
    points = sorted(
        points, key=lambda planned: planned.point.loaded.recipe.train.seed
    )  # an early stop leaves complete seeds
    runs = [
        SweepRun(planned.point.name, planned.point.loaded.resolved, list(planned.tags)) for planned in points
    ]
    (home.root / "selected.json").write_bytes(msgspec.json.encode(selections))
    with Client(home) as client:
        client.ask(SubmitSweep(SWEEP, runs, base.text))


def wait(home: Home, tell_every_s: float = 60.0) -> SweepsAnswer:
    """Wait until all runs have ended, printing progress."""
    reported_at = 0.0
    while True:
        with Client(home) as client:
            answer: SweepsAnswer = client.ask(Sweeps(SWEEP))
        brief = next(sweep for sweep in answer.sweeps if sweep.name == SWEEP)
        if not brief.to_come:
            return answer
        if time.monotonic() - reported_at > tell_every_s:
            reported_at = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')}  {brief.finished} of {brief.runs} finished", flush=True)
        time.sleep(2.0)  # between two looks


def tell_corrupted(selections: list[Selected], swapped: set[int], rows: int) -> None:
    """Print how many of each selector's rows are corrupted."""
    print(f"\n{len(swapped)} of {rows} rows have the answer of another. Of those that were selected:\n")
    print(f"{'rows by':<20}{'rows':>6}  corrupted, by seed")
    groups: dict[tuple[str, int], list[int]] = {}
    for selection in selections:
        lines = json.loads(Path(selection.manifest).read_text())["lines"]
        groups.setdefault((selection.by, selection.rows), []).append(len(swapped.intersection(lines)))
    for (by, count), corrupted_shares in sorted(groups.items()):
        shares = ", ".join(f"{number} ({number / count:.0%})" for number in corrupted_shares)
        print(f"{by:<20}{count:>6}  {shares}")


def main() -> int:
    args = bench.options(__doc__, home=Path("/tmp/finetop-selection"), model="smollm2-135m-instruct", seeds=3)
    if not DATA.is_dir():
        bench.skip(f"there is no {DATA}")
    home = Home(args.home.absolute())
    prepare(home)
    train, test, lines = (home.root / name for name in ("corrupted.jsonl", "test.jsonl", "swapped.json"))
    swapped = (
        set(json.loads(lines.read_text()))
        if lines.exists()
        else corrupt(DATA / "qa_train.jsonl", train, lines)
    )
    clean(DATA / "qa_test.jsonl", test)
    file = home.root / "corrupted.yaml"
    file.write_text(
        RECIPE.format(
            name=SWEEP, model=args.model, train=train, test=test, steps=STEPS, batch=BATCH, rate=RATE
        )
    )
    base = load_recipe(str(file))
    with Client(home) as client:
        known = [sweep.name for sweep in client.ask(Sweeps()).sweeps]
    if SWEEP not in known:
        queue(base, home, args.seeds, str(file))
    try:
        answer = wait(home)
    finally:
        print(f"The runs go on; look at them: finetop --home {home.root} sweep {SWEEP}", file=sys.stderr)
    curves = selection_curve.read(answer)
    assert curves is not None
    print_curves(curves)
    selections = msgspec.json.decode((home.root / "selected.json").read_bytes(), type=list[Selected])
    tell_corrupted(selections, swapped, len(train.read_text().splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
