"""Reward models: they learn which answer is better, reload bit for bit from their checkpoint, and reward ppo."""

import json

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from finetop.core.data.formats import Message
from finetop.core.errors import BadInput
from finetop.core.models import checkpoint
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.models.reward_model import RewardModel
from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home
from finetop.core.train import methods
from finetop.core.train.methods import _start
from finetop.core.train.trainers import reward_sum

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
REWARD = {"objective": {"name": "reward"}, "train": {"max_steps": 6}, "data": {"eval": {"share": 0.2}}}


def loaded(folder, home):
    log = event_log.EventLog(home / "loading.jsonl")
    try:
        return reward_sum.load_reward(str(folder), "float32", "cpu", 3, Home(home), log)
    finally:
        log.close()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_reward_model_learns_comes_back_and_pays(train, pairs, tmp_path, method, monkeypatch):
    kept, write = [], checkpoint.write
    monkeypatch.setattr(checkpoint, "write", lambda model, *rest: kept.append(model) or write(model, *rest))
    rate = {"lora": 0.01, "full": 0.003}[method]
    sections = {**REWARD, "train": {"max_steps": 8, "learning_rate": rate}}
    run = train(pairs, name="judge", method={"name": method}, **sections)
    assert run.ended == events.Ended("finished")
    assert run.values("loss")[0] == pytest.approx(0.69, abs=0.03)
    assert run.values("loss")[-1] < 0.3
    assert run.values("eval_reward_accuracy")[-1] == 1.0
    assert not run.of(events.Sample)
    folder = run.folder / "checkpoints" / "step-000008"
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "reward"

    judge = loaded(folder, tmp_path / "home")
    asked = [(Message("user", row["prompt"]),) for row in pairs]
    answers = [row["chosen"] for row in pairs[:12]] + [row["rejected"] for row in pairs[12:]]
    scores = judge.score(asked, answers)
    held = RewardModel(kept[-1].eval(), judge.tokenizer, 3)
    assert scores == held.score(asked, answers)  # bit-identical in memory and loaded again
    one = RewardModel(judge.model, judge.tokenizer, 1)
    alone = [one.score([a], [b])[0] for a, b in zip(asked, answers, strict=True)]
    assert scores == pytest.approx(alone, abs=1e-5)
    assert min(scores[:12]) > max(scores[12:])

    if method == "lora":
        objective = {"name": "ppo", "reward": {"model": str(folder)}, "max_new_tokens": 2}
        paid = train(pairs, name="paid", objective=objective, train={"max_steps": 2})
        assert paid.ended == events.Ended("finished")
        assert paid.values("reward") == paid.values("reward_model")
        with pytest.raises(BadInput, match="is a reward model, which generates no text"):
            load_checkpoint(None, folder, None, "cpu")


def classifier(tiny_model, folder, labels):
    made = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=labels)
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def test_models_that_cannot_judge_are_refused(train, pairs, tiny_model, tmp_path):
    (tmp_path / "home").mkdir()
    two = classifier(tiny_model, tmp_path / "two", 2)
    with pytest.raises(BadInput, match="is a classifier with 2 labels, but a reward is one number"):
        train(pairs, name="a", model={"id": str(two)}, **REWARD)
    with pytest.raises(BadInput, match=r"objective\.reward\.model: .*two is a classifier with 2 labels"):
        loaded(two, tmp_path / "home")
    with pytest.raises(BadInput, match=r"model\.id: .*two is a reward model, which generates no text"):
        train(pairs, name="b", model={"id": str(two)}, objective={"name": "dpo"})
    with pytest.raises(BadInput, match="model holds no reward model"):
        loaded(tiny_model, tmp_path / "home")
    with pytest.raises(BadInput, match="no folder"):
        loaded(tmp_path / "nowhere", tmp_path / "home")
    one = classifier(tiny_model, tmp_path / "one", 1)
    assert loaded(one, tmp_path / "home").model.config.num_labels == 1
    words = json.loads((one / "tokenizer.json").read_text())
    words["added_tokens"].append({**words["added_tokens"][-1], "id": 5000, "content": "<|new|>"})
    (one / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(BadInput, match=r"one has 375 tokens, but its tokenizer has token \d+"):
        loaded(one, tmp_path / "home")


def test_rows_without_a_chosen_answer_are_refused(train, pairs):
    rows = [*pairs[:3], {"prompt": "Where?", "rejected": "No."}]
    with pytest.raises(BadInput, match=r"tiny\.jsonl:4: chosen is missing"):
        train(rows, **REWARD)


@pytest.mark.parametrize("method", ["dora", "lora-plus", "freeze", "ia3", "layernorm", "pissa", "vera"])
def test_other_methods_train_the_score_too(tiny_model, method):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1)
    made = methods.load(method)
    prepared = made.prepare(model, made.options(), _start.Start(base_path=tiny_model))
    moving = [name for name, weight in prepared.named_parameters() if weight.requires_grad]
    assert sum("score" in name for name in moving) == 1
    assert not any("score" in name and "lora" in name for name in moving)
