"""PPO's trainer by itself: its first step, its reference, bit-exact resume, and stopping."""

import copy

import msgspec
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from finetop.core.train import methods, rewards
from finetop.core.train.methods import _start
from finetop.core.train.ppo import chance
from finetop.core.train.ppo.loop import PolicyTrainer, make_schedule
from finetop.core.train.ppo.options import Options
from finetop.core.train.resume import state_files
from finetop.core.train.trainers.reward_sum import RewardSum

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SETTINGS = Options(
    max_new_tokens=3, temperature=0.9, minibatches=2, passes=2, clip=0.2, value_clip=0.2, value_weight=0.5,
    value_learning_rate=0.01, entropy_weight=0.01, gamma=1.0, gae_lambda=0.9, whiten=True, kl_coefficient=0.2,
    kl_target=0.01, kl_horizon=20, normalize="running", reward_limit=2.0, no_end_penalty=0.1,
)  # fmt: skip
PAYER = RewardSum(None, 1.0, ((rewards.load("regex"), "[a-m]", 1.0), (rewards.load("length"), [2, 3], 0.5)))


class Heard(TrainerCallback):
    """A callback that keeps what is logged, and requests a stop or an evaluation."""

    def __init__(self, stop_after=0, folder=None, save_at=0):
        self.stop_after, self.folder, self.save_at = stop_after, folder, save_at
        self.logs, self.trainer = [], None

    def on_log(self, args, state, control, logs=None, **_):
        self.logs.append(logs)

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.stop_after
        control.should_evaluate = state.global_step == args.max_steps
        if state.global_step == self.save_at and self.folder is not None:
            self.folder.mkdir()
            self.trainer.save_state(self.folder)


@pytest.fixture
def make(tokenizer, prompts, tmp_path):
    """Return a function that makes the trainer of a policy, of 10 steps."""

    def made(policy, heard, *, half=False, **changed):
        arguments = TrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=2, per_device_eval_batch_size=3,
            gradient_accumulation_steps=2, max_steps=10, learning_rate=0.003, lr_scheduler_type="linear",
            warmup_steps=2, use_cpu=True, report_to="none", disable_tqdm=True, seed=5, fp16=half,
        )  # fmt: skip
        options, keeps = msgspec.structs.replace(SETTINGS, **changed), hasattr(policy, "peft_config")
        given = (policy, arguments, options, tokenizer, prompts * 3, prompts, PAYER, [heard])
        heard.trainer = PolicyTrainer(*given, adapter_keeps_base=keeps)
        return heard.trainer

    return made


def with_adapter(policy):
    torch.manual_seed(1)
    lora = methods.load("lora")
    return lora.prepare(policy, lora.options(rank=4), _start.Start())


@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("separate", [True, False])
def test_the_first_step_sees_the_policy_that_wrote_the_answers(make, policy, adapter, separate):
    model = with_adapter(policy) if adapter else policy
    heard = Heard(stop_after=3)
    trainer = make(model, heard, value="separate" if separate else "head")
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer.train()
    first, second, third = heard.logs
    # The reference is the policy; a copy's numbers may have another memory layout, and be added in another order.
    assert first["answer_kl"] == (0.0 if adapter else pytest.approx(0.0, abs=1e-6))
    assert first["step_kl"] == first["clip_fraction"] == 0.0  # every ratio is exactly 1
    assert second["step_kl"] == 0.0 < third["step_kl"]  # the first step of a warm-up moves nothing
    assert "reward" not in second and third["learning_rate"] != second["learning_rate"]
    assert first["kl_coefficient"] == 0.2
    assert first["num_tokens"] > 0 and second["num_tokens"] > first["num_tokens"]
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, start[name])}
    assert moved
    assert all("lora" in name for name in moved) or not adapter
    batch = trainer.rollout[0]
    again = trainer.writer.reference.logprobs(batch.ids, batch.attention, batch.mask.shape[1])
    assert torch.allclose(again * batch.mask, batch.logprobs, atol=1e-5)  # the reference has not moved


def test_a_network_of_its_own_for_values_leaves_the_policy_alone(make, policy):
    def gradients(separate):
        value = "separate" if separate else "head"
        trainer = make(policy, Heard(), value=value)
        trainer._roll_out()
        batch = trainer.rollout[0]
        with torch.no_grad():
            trainer.value.layers[-1].weight.fill_(0.1)
        _, values = trainer.writer.read(batch)
        values.sum().backward()
        found = sum(float(w.grad.abs().sum()) for w in policy.parameters() if w.grad is not None)
        policy.zero_grad()
        return found

    assert gradients(separate=True) == 0.0
    assert gradients(separate=False) > 0.0


def test_in_float16_the_loss_is_scaled_and_what_is_clipped_is_not(make, policy):
    model, norms = with_adapter(policy), {}
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for half in (False, True):
        heard = Heard(stop_after=2)
        trainer = make(model, heard, half=half)
        if half:
            trainer.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        trainer.train()
        norms[half] = [log["grad_norm"] for log in heard.logs[:2]]
    assert norms[True][0] == pytest.approx(norms[False][0], rel=0.5)  # other answers, but not 256 times
    assert any(not torch.equal(weight, start[name]) for name, weight in model.named_parameters())
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}


def test_a_step_that_overflows_in_float16_is_left_out_and_the_scale_falls(make, policy):
    model, heard = with_adapter(policy), Heard(stop_after=2)
    trainer = make(model, heard, half=True)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**80)
    before = [weight.detach().clone() for weight in model.parameters()]
    trainer.train()
    assert trainer.scaler.get_scale() == 2.0**78
    assert not any(log["grad_norm"] < float("inf") for log in heard.logs[:2])
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
    assert trainer.schedules[0].last_epoch == 0  # it steps only with the optimizer


def test_the_schedule_is_the_one_of_the_other_trainers(policy, tmp_path):
    """With the options that only `trainer_args` can set."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=10, learning_rate=0.1, lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": 0.04}, warmup_steps=2, use_cpu=True, report_to="none",
    )  # fmt: skip

    def rates(schedule):
        seen = []
        for _ in range(11):
            seen.append(schedule.get_last_lr()[0])
            schedule.optimizer.step()
            schedule.step()
        return seen

    ours = make_schedule(torch.optim.SGD(policy.parameters(), lr=0.1), arguments)
    trainer = Trainer(policy, arguments)
    trainer.optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    theirs = trainer.create_scheduler(10)
    assert (seen := rates(ours)) == rates(theirs)
    assert seen[2] == 0.1
    assert seen[-1] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("adapter", "at", "half"), [(True, 4, False), (False, 6, False), (True, 4, True)]
)  # between two rollouts, and within one
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(make, policy, tmp_path, adapter, at, half):
    model = with_adapter(policy) if adapter else policy
    fresh = copy.deepcopy(model)
    whole = Heard(folder=tmp_path / "state", save_at=at)
    trainer = make(model, whole, half=half)
    weights = {}
    keep = trainer.save_state

    def with_weights(folder):
        keep(folder)
        weights.update({name: one.detach().clone() for name, one in model.named_parameters()})

    trainer.save_state = with_weights
    trainer.train()
    assert len(whole.logs) == 11 and whole.logs[-1]["eval_loss"] == -whole.logs[-1]["eval_reward"]

    rest = Heard()
    resumed = make(fresh, rest, half=half)
    resumed.load_state(tmp_path / "state")
    with torch.no_grad():
        for name, weight in fresh.named_parameters():
            weight.copy_(weights[name])
    resumed.train()
    assert str(rest.logs) == str(whole.logs[at:])  # as text, NaN equals NaN
    for ours, theirs in ((model, fresh), (trainer.value, resumed.value)):
        assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert resumed.coefficient == trainer.coefficient != 0.2
    if half:
        assert resumed.scaler is not None and trainer.scaler is not None
        assert resumed.scaler.state_dict() == trainer.scaler.state_dict()
        assert resumed.scaler.get_scale() < 65536.0  # some steps were skipped
        assert resumed.schedules[0].last_epoch == trainer.schedules[0].last_epoch < 10


def test_state_is_no_pickle(make, policy, tmp_path):
    heard = Heard(stop_after=1, folder=tmp_path / "state", save_at=1)
    make(policy, heard).train()
    assert {path.suffix for path in (tmp_path / "state").iterdir()} == {".json", ".safetensors"}
    assert state_files.load(tmp_path / "state")["step"] == 1


def test_every_prompt_comes_once_in_an_epoch():
    rows = [str(number) for number in range(6)]
    taken = [one for drawn in (0, 8, 16) for one in chance.next_rows(rows, 5, drawn, 8)]
    epochs = [taken[at : at + 6] for at in range(0, 24, 6)]
    assert all(sorted(epoch) == rows for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
