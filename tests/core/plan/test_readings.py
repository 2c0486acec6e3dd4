"""The phases between steps: an evaluation, a check or the drift probe may hold more than a step; the plan says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finetop.core.models.cpu_formats import Speeds
from finetop.core.plan import memory, readings
from finetop.core.plan.estimate import estimate
from finetop.core.plan.lengths import Lengths
from finetop.core.plan.workload import Known
from finetop.core.recipe.load import load_recipe
from finetop.core.train import drift_probe, samples

SHORT = Known(lengths=Lengths(rows=1000, eval_rows=100, tokens=200_000, longest=512, how="counted"))
SMALL = (
    "train.batch_size=1", "train.activation_checkpointing=true", "data.eval={share: 0.1}", "drift.every=null",
    "check={at_end: true}", "samples.count=0", "data.max_tokens=128",
)  # fmt: skip

IN_16_BITS = {"has_bfloat16": True, "speeds": Speeds(bfloat16=2e9, float32=1e9)}


@pytest.fixture
def planned(llama_8b, card):
    def make(*sets, machine=card):
        return estimate(load_recipe("lora", (*SMALL, *sets)).recipe, llama_8b, machine, SHORT)

    return make


def test_an_evaluation_in_larger_batches_is_the_peak_and_the_same_batches_are_the_fix(planned, card):
    step = planned()
    assert step.phase == memory.STEP
    wide = planned("train.eval_batch_size=256")
    assert wide.phase == "an evaluation"
    assert wide.estimate > step.estimate + 5e9
    assert wide.estimate == pytest.approx(sum(part.bytes for part in wide.parts))
    assert "gradients" not in {part.name for part in wide.parts}
    tight = planned("train.eval_batch_size=256", machine=replace(card, memory=step.need * 1.01))
    assert (tight.verdict, tight.fix.sets) == ("no", ("train.eval_batch_size=null",))


def test_checks_during_training_count_on_a_cpu_and_the_one_at_the_end_is_a_job_of_its_own(
    planned, card, cores
):
    cpu = replace(cores, memory=60e9, **IN_16_BITS)
    at_end, during = planned(machine=cpu), planned("check.every=10", machine=cpu)
    assert (at_end.phase, during.phase) == (memory.STEP, "a check")
    assert during.estimate > at_end.estimate
    assert planned("check.every=10").parts == planned().parts  # on a GPU they take what is left


def test_the_drift_probe_holds_whole_distributions(planned, cores):
    cpu = replace(cores, memory=60e9, **IN_16_BITS)
    probed = planned("drift.every=10", "data.max_tokens=16", machine=cpu)
    assert probed.phase == "the drift probe"


def test_numbers_of_the_jobs_own_code_are_the_same():
    assert readings.DRIFT_TOKENS == drift_probe.WINDOW == drift_probe.KL_TOKENS
    assert readings.SAMPLE_TOKENS == samples.LONGEST
