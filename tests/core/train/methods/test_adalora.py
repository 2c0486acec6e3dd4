"""AdaLoRA in 16 bits: the rank counts are not trained, so that a checkpoint is the model that was trained."""

import pytest
import torch
from method_bench import TOKENS, logits, train

from finetop.core.models import load
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.train.methods import adalora

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture
def model(bench):
    return bench.prepare("adalora", load.load_model(bench.base, torch.bfloat16, "cpu")[0])


def require_reloads_exactly(model, bench, folder):
    bench.save(model, folder)
    again, _ = load_checkpoint(bench.base, folder, torch.bfloat16, "cpu")
    assert torch.equal(logits(again), logits(model))


def test_a_checkpoint_in_bfloat16_is_the_model_that_was_trained(model, bench, tmp_path):
    counters = {name: one.clone() for name, one in model.named_parameters() if ".ranknum." in name}
    assert len(counters) == 14
    train(model, steps=4, rate=0.1)
    for name, one in model.named_parameters():
        assert name not in counters or torch.equal(one, counters[name]), name
    require_reloads_exactly(model, bench, tmp_path / "saved")


def test_ranks_that_were_taken_away_leave_the_others_exact(model, bench, tmp_path):
    adalora.plan(model, adalora.Options(), 6)
    model.train()
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.013)
    for step in range(1, 7):
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
        adalora.allocate(model, step)
        optimizer.zero_grad()
    config = model.peft_config["default"]
    assert min(map(sum, config.rank_pattern.values())) < config.init_r, "the test takes no rank away"
    require_reloads_exactly(model, bench, tmp_path / "saved")
