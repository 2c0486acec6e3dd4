"""Rewards for the model's own answers: ppo, rloo and grpo reach the known optimum, and refuse what can't work."""

import math
import statistics
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetop.core.errors import BadInput
from finetop.core.models import cpu_formats, devices, vllm
from finetop.core.protocol import events
from finetop.core.train import rewards, trainer_setup

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
# An answer is one token, with reward 1 if it begins with a letter up to m.
BANDIT = {"reward": {"rules": [{"rule": "regex", "value": "^ ?[a-m]"}]}, "max_new_tokens": 1}
PROMPTS = [{"prompt": f"What is {n}?", "answer": str(n)} for n in range(24)]
PLAIN = {
    "method": {"name": "full"}, "data": {"eval": {"share": 0.0}}, "samples": {"count": 0},
}  # fmt: skip


def paying_share(folder):
    """Return the exact probability, over all prompts, that a model generates a rewarded token."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rule = rewards.load("regex")
    pays = [
        rule.score(tokenizer.decode([token], skip_special_tokens=True).strip(), "^ ?[a-m]", None)
        for token in range(len(tokenizer))
    ]
    shares = []
    for row in PROMPTS:
        turn = [{"role": "user", "content": row["prompt"]}]
        asked = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt")
        with torch.no_grad():
            shares.append(float(model(asked["input_ids"]).logits[0, -1].softmax(-1) @ torch.tensor(pays)))
    return statistics.mean(shares)


@pytest.mark.slow
def test_ppo_reaches_the_best_policy_there_is(train, tiny_model):
    """The optimum with a cost of beta per nat is p(a) ~ p0(a) exp(r(a) / beta): Ziegler et al. 2019, section 2.1.

    The share of rewarded tokens is then p0 e^(1/beta) / (p0 e^(1/beta) + 1 - p0).
    """
    beta = 0.5
    steps = {"batch_size": 48, "max_steps": 72, "learning_rate": 0.003, "schedule": "linear"}
    run = train(PROMPTS, objective={"name": "ppo", "kl_coefficient": beta, **BANDIT}, train=steps, **PLAIN)
    start = paying_share(tiny_model)
    tilted = start * math.exp(1 / beta)
    best = tilted / (tilted + 1 - start)
    assert best - start > 0.3
    assert paying_share(run.folder / "checkpoints" / "step-000072") == pytest.approx(best, abs=0.06)
    assert run.values("answer_kl")[0] == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < run.values("answer_kl")[-1] < 1.0


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_groups_learn_what_pays(train, name):
    options = {"name": name, "kl_coefficient": 0.0, "generations": 8, **BANDIT}
    steps = {"batch_size": 16, "grad_accumulation": 2, "max_steps": 16, "learning_rate": 0.01}
    run = train(PROMPTS, objective=options, train=steps, **PLAIN)
    reward = run.values("reward")
    assert statistics.mean(reward[-4:]) > statistics.mean(reward[:4]) + 0.4
    assert run.values("reward_regex") == pytest.approx(reward)


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_an_evaluation_of_one_row_is_told_without_a_spread(train, name):
    """The spread of one answer's reward is undefined, for which TRL logs None."""
    run = train(
        PROMPTS[:5], objective={"name": name, "generations": 2, **BANDIT},
        train={"batch_size": 2, "max_steps": 1}, data={"eval": {"share": 0.2}}, samples={"count": 0},
    )  # fmt: skip
    assert run.ended == events.Ended("finished")
    (evaluation,) = (event.values for event in run.of(events.Metrics) if "eval_loss" in event.values)
    assert evaluation["eval_reward"] == -evaluation["eval_loss"]
    assert "eval_reward_deviation" not in evaluation


@pytest.mark.parametrize(("name", "method"), [("ppo", "lora"), ("rloo", "pissa"), ("grpo", "lora")])
def test_an_adapter_learns_beside_its_reference_and_is_saved(train, name, method):
    more = {} if name == "ppo" else {"generations": 2}
    rules = [{"rule": "has_answer", "weight": 2.0}, {"rule": "length", "value": [1, 3], "weight": -1.0}]
    run = train(
        PROMPTS, objective={"name": name, "reward": {"rules": rules}, "max_new_tokens": 3, **more},
        train={"max_steps": 3, "eval_every": 2, "grad_accumulation": 2, "batch_size": 3,
               "learning_rate": 0.003},
        samples={"count": 1, "max_new_tokens": 2}, method={"name": method},
    )  # fmt: skip
    assert run.ended == events.Ended("finished")
    assert len(run.values("loss")) == len(run.values("tokens_per_s")) == 3
    parts = zip(run.values("reward_has_answer"), run.values("reward_length"), strict=True)
    assert run.values("reward") == pytest.approx([2 * answer - length for answer, length in parts])
    assert run.values("answer_kl")[0] == pytest.approx(0.0, abs=1e-5)
    assert run.values("eval_loss") == [-one for one in run.values("eval_reward")]
    assert run.of(events.Sample)
    saved = {path.name for path in (run.folder / "checkpoints" / "step-000003").iterdir()}
    assert "adapter_model.safetensors" in saved and "ref" not in saved
    assert list(run.of(events.FirstRow)[0].pieces) == [("<|user|>What is 0?<|end|>\n<|assistant|>", False)]


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_trl_reads_the_prompt_as_it_was_rendered(train, monkeypatch, name):
    """With full weights the reference is also the model as it began."""

    made, seen = [], []
    build = trainer_setup.make_trainer

    def watched(objective, setup):
        trainer = build(objective, setup)
        made.extend([trainer, setup])
        score = trainer._generate_and_score_completions
        trainer._generate_and_score_completions = lambda inputs: seen.append(score(inputs)) or seen[-1]
        return trainer

    monkeypatch.setattr(trainer_setup, "make_trainer", watched)
    train(PROMPTS, objective={"name": name, "generations": 4, **BANDIT}, train={"max_steps": 1}, **PLAIN)
    trainer, setup = made
    rendered = {tuple(example.prompt_ids) for example in setup.train}
    for ids, mask in zip(seen[0]["prompt_ids"], seen[0]["prompt_mask"], strict=True):
        assert tuple(ids[mask.bool()].tolist()) in rendered
    assert trainer.ref_model is not None
    start = load_file(setup.base.path / "model.safetensors")
    reference = dict(trainer.ref_model.named_parameters())
    assert all((reference[key] == start[key]).all() for key in reference)


def test_rows_and_steps_that_do_not_fit_are_refused(train):
    rule = {"reward": {"rules": [{"rule": "exact_match"}]}}
    rows = [*PROMPTS[:1], {"prompt": "Where?"}]
    with pytest.raises(BadInput, match=r"tiny\.jsonl:2: answer is missing, and the rule exact_match comp"):
        train(rows, objective={"name": "grpo", "generations": 4, **rule}, **PLAIN)
    with pytest.raises(BadInput, match=r"3 prompts are fewer than the 8 that one step takes"):
        many = {"batch_size": 16, "grad_accumulation": 2}
        train(PROMPTS[:3], name="few", objective={"name": "rloo", **BANDIT}, train=many, **PLAIN)
    with pytest.raises(BadInput, match=r"trainer_args\.num_generations: .* set objective\.generations"):
        raw = {"trainer_args": {"num_generations": 2}, "train": {"batch_size": 8}, **PLAIN}
        train(PROMPTS, name="raw", objective={"name": "grpo", **BANDIT}, **raw)


@pytest.mark.parametrize("name", [pytest.param("rloo", marks=pytest.mark.slow), "grpo"])
def test_another_engine_writes_and_what_trains_stays_in_float32(train, monkeypatch, name):
    """TRL's own continuous batching rounds the trained weights to 16 bits, and leaves them so."""
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)  # as on a GPU, under autocast
    monkeypatch.setattr(cpu_formats, "measured", lambda _: cpu_formats.Speeds(1, 2))
    run = train(
        PROMPTS, model={"engine": "continuous", "dtype": "bfloat16"}, method={"name": "full"},
        objective={"name": name, "generations": 4, "reward": BANDIT["reward"], "max_new_tokens": 3},
        train={"batch_size": 4, "grad_accumulation": 2, "max_steps": 2, "learning_rate": 1e-4,
               "master": "float32"},
        samples={"count": 1, "max_new_tokens": 2},
    )  # fmt: skip
    assert run.ended == events.Ended("finished")
    assert len(run.values("reward")) == 2 and all(0 < n <= 3 for n in run.values("response_tokens"))
    assert run.of(events.Sample)
    (weights,) = (run.folder / "checkpoints" / "step-000002").glob("*.safetensors")
    held = load_file(weights)
    assert any((tensor != tensor.bfloat16().to(tensor.dtype)).any() for tensor in held.values())


@pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")
@pytest.mark.filterwarnings("ignore")  # vLLM's own
@pytest.mark.parametrize(("name", "method"), [("grpo", "lora"), ("rloo", "full")])
def test_vllm_writes_by_the_weights_of_each_step(train, untied_model, monkeypatch, name, method):
    """One letter is rewarded, and vLLM's answers get rewarded more and more: so it uses the trained weights."""
    handed = []
    hand_over = vllm.hand_over
    monkeypatch.setattr(vllm, "hand_over", lambda *given: (handed.append(1), hand_over(*given)))
    run = train(
        PROMPTS, model={"id": str(untied_model), "engine": "vllm", "dtype": "bfloat16"},
        method={"name": method}, objective={"name": name, "generations": 4, "kl_coefficient": 0.0, **BANDIT},
        train={"batch_size": 8, "max_steps": 12, "learning_rate": 1e-2, "master": "float32"},
        data={"eval": {"share": 0.0}}, samples={"count": 0},
    )  # fmt: skip
    assert run.ended == events.Ended("finished")
    assert len(handed) == 12
    rewards = run.values("reward")
    assert statistics.median(rewards[-5:]) > statistics.mean(rewards[:3]) + 0.2
