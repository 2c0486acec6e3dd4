"""Objectives on two ranks whose batches are independent: compared with gradient accumulation, or with copies."""

import statistics

import pytest
from rank_jobs import make_job, make_run, run_all
from tiny_run import curve, of, read_events

from finetop.core.protocol import events

pytestmark = pytest.mark.slow
BANDIT = {"reward": {"rules": [{"rule": "regex", "value": "^ ?[a-m]"}]}, "max_new_tokens": 1}
LEARNS = {"max_steps": 16, "learning_rate": 0.01, "schedule": "constant"}


@pytest.fixture(scope="module")
def told(tmp_path_factory, tiny_model, warm_program):
    """Return the events of each job by name: those of two ranks, and those of one."""
    folder = tmp_path_factory.mktemp("objectives")
    lora = {"name": "lora", "rank": 4}
    taught = {"name": "distill", "teacher": str(tiny_model), "weight": 0.5}
    paid = {"generations": 8, "kl_coefficient": 0.0, **BANDIT}
    two = {
        "kto-fsdp": ({"method": {"name": "full"}, "objective": {"name": "kto"}}, {}),
        "kto-ddp": ({"method": {"name": "full"}, "objective": {"name": "kto"}}, {"parallel": "ddp"}),
        "distill-two": ({"method": lora, "objective": taught}, {}),
        "grpo": ({"method": {"name": "full"}, "objective": {"name": "grpo", **paid}, "samples": {"count": 0}},
                 {"batch_size": 16, "parallel": "ddp", **LEARNS}),
        "rloo": ({"method": {"name": "full"}, "objective": {"name": "rloo", **paid}, "samples": {"count": 0},
                  "model": {"engine": "continuous"}},
                 {"batch_size": 16, "parallel": "ddp", **LEARNS}),
    }  # fmt: skip
    one = {"distill-one": ({"method": lora, "objective": taught}, {"grad_accumulation": 2})}
    jobs = {}
    for count, group in ((2, two), (1, one)):
        for name, (sections, train) in group.items():
            jobs[name] = make_job(make_run(folder / name, tiny_model, name, **sections), count, **train)
        run_all([jobs[name] for name in group], count, warm_program)
    return {name: read_events(job) for name, job in jobs.items()}


def test_kto_with_divided_weights_is_kto_with_copies(told):
    for key in ("loss", "grad_norm"):
        assert curve(key, told["kto-fsdp"]) == pytest.approx(curve(key, told["kto-ddp"]), abs=1e-5), key
    assert sorted(curve("loss", told["kto-fsdp"])) == [1, 2, 3, 4, 5]


def test_distilling_on_two_is_distilling_in_batches_that_are_added_up(told):
    for key in ("loss", "grad_norm", "kl_to_teacher", "answer_loss"):
        alone = curve(key, told["distill-one"])
        assert curve(key, told["distill-two"]) == pytest.approx(alone, abs=1e-5), key
        assert sorted(alone) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_groups_learn_what_pays_on_two(told, name):
    """Both ranks' answers are rewarded and compared; each is counted once."""
    reward = list(curve("reward", told[name]).values())
    assert len(reward) == 16
    assert statistics.mean(reward[-4:]) > statistics.mean(reward[:4]) + 0.3
    assert of(events.Ended, told[name]) == [events.Ended("finished")]


def test_copies_that_do_not_search_for_unused_weights_learn_the_same(tmp_path, tiny_model, warm_program):
    """A trial step shows that each weight has a gradient; DDP would fail for a weight without one."""
    lora = {"name": "lora", "rank": 4}
    paid = {"generations": 2, "kl_coefficient": 0.01, **BANDIT}
    sections = {
        "sft": {"method": lora},
        "packed": {"method": lora, "objective": {"name": "sft", "packing": True}},
        "dpo": {"method": lora, "objective": {"name": "dpo"}},
        "kto": {"method": lora, "objective": {"name": "kto"}},
        "orpo": {"method": lora, "objective": {"name": "orpo"}},
        "reward": {"method": lora, "objective": {"name": "reward"}, "samples": {"count": 0},
                   "check": {"general": None}, "drift": {"every": None}},
        "distill": {"method": lora,
                    "objective": {"name": "distill", "teacher": str(tiny_model), "weight": 0.5}},
        "grpo": {"method": lora, "objective": {"name": "grpo", **paid}, "samples": {"count": 0}},
    }  # fmt: skip
    jobs = {
        (name, tries): make_job(
            make_run(tmp_path / f"{name}-{tries}", tiny_model, name, **given), 2, try_worst_batch=tries
        )
        for name, given in sections.items()
        for tries in (False, True)
    }
    run_all(list(jobs.values()), 2, warm_program)
    for name in sections:
        searched, spared = (curve("loss", read_events(jobs[name, tries])) for tries in (False, True))
        assert sorted(spared) == [1, 2, 3, 4, 5], name
        assert spared == pytest.approx(searched, abs=1e-6), name
