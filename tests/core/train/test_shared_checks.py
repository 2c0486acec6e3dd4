"""Checks during training are shared by the ranks, and reach the verdict of one process, bit for bit in its JSON."""

import json
import random

import pytest
from choice_suite import write_choice_suite
from rank_jobs import ROWS, make_job, make_run, run_all
from tiny_run import of, read_events, write_rows

from finetop.core.protocol import events

pytestmark = pytest.mark.slow
NAMES = ("shop", "mill", "clock")
METHODS = ("lora", "full", "qlora-divided")


def rows_of(name, chance):
    """Return items with random gold answers: the tiny model is right on some."""
    return [
        {"id": f"n{n}", "question": f"What is the {name} number {n}, and is it",
         "choices": ["".join(chance.choices("abcdeghi", k=5)) for _ in range(2)], "gold": chance.randrange(2)}
        for n in range(40)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, tiny_model, warm_program):
    """Return the verdicts of the checks of steps 1 and 2, by method and rank count; step 1 has learned at rate 0."""
    folder = tmp_path_factory.mktemp("verdicts")
    jobs = {}
    for count in (1, 2):
        for method in METHODS:
            home = folder / f"{method}-{count}"
            is_divided = method == "qlora-divided"
            target = {"path": str(home / "target.jsonl"), "metric": ["nats_per_token", "token_f1"]}
            run = make_run(
                home, tiny_model, method, model={"quantize": "nf4" if is_divided else "none"},
                method={"name": "lora" if is_divided else method},
                train={"max_steps": 2, "learning_rate": 0.5, "warmup_steps": 2}
                | ({"parallel": "fsdp"} if is_divided else {}),
                check={"every": 1, "at_end": False, "on_fail": "keep-best", "general": {"suite": "three"},
                       "target": {**target, "max_new_tokens": 4}},
            )  # fmt: skip
            chance = random.Random(1)
            write_choice_suite(home, {name: rows_of(name, chance) for name in NAMES}, "three")
            write_rows(home / "target.jsonl", ROWS * 2)
            jobs[method, count] = make_job(run, count, batch_size=4 // count)
        run_all([jobs[method, count] for method in METHODS], count, warm_program)
    return {key: of(events.Verdict, read_events(job)) for key, job in jobs.items()}


@pytest.mark.parametrize("method", METHODS)
def test_the_verdict_of_two_ranks_is_that_of_one_process(verdicts, method):
    one, two = verdicts[method, 1], verdicts[method, 2]
    assert [told.step for told in one] == [told.step for told in two] == [1, 2]
    results = [{**told[0].result, "seconds": 0.0} for told in (one, two)]
    for result in results:  # an adapter's hash is of its settings too, whose names PEFT lists in any order
        held = result["models"]["tuned"].pop("adapter")
        assert (held is None) is (method == "full")
    assert json.dumps(results[0], sort_keys=True) == json.dumps(results[1], sort_keys=True)
    assert results[0]["items_used"] > 0
    assert results[0]["drift"]["tokens"] > 0
    assert results[0]["target"].keys() == {"nats_per_token", "token_f1"}
    for key in ("verdict", "reason", "items_used", "gained", "lost"):
        assert one[1].result.get(key) == two[1].result.get(key), key
