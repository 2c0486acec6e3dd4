"""Distillation: the student's distribution approaches the teacher's."""

import json
import shutil

import pytest
import torch
from method_bench import disturb
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetop.core.errors import BadInput
from finetop.core.train.objectives.distill import Options, divergence

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS = [{"prompt": f"What is {n}?", "completion": f"It is {n * n}."} for n in range(24)]


def test_the_student_nears_its_teacher(train, tiny_model, tmp_path):
    taught = tmp_path / "teacher"
    teacher = AutoModelForCausalLM.from_pretrained(tiny_model)
    disturb(teacher, 0.1, seed=5)
    teacher.save_pretrained(taught)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(taught)
    options = {"name": "distill", "teacher": str(taught), "weight": 1.0, "direction": "reverse"}
    steps = {"learning_rate": 0.003, "max_steps": 24}
    run = train(ROWS, objective=options, method={"name": "full"}, data={"eval": {"share": 0.2}}, train=steps)
    kl = run.values("kl_to_teacher")
    assert kl[-1] < 0.7 * kl[0]
    assert run.values("loss") == pytest.approx(kl, rel=1e-3)  # the whole loss is the teacher's
    assert len(run.values("eval_loss")) == 1


def test_the_divergence_is_that_of_its_formula():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 11, dtype=torch.float64), torch.randn(5, 11, dtype=torch.float64)
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    options = Options(teacher="x", temperature=2.0)
    assert divergence(student, teacher, options).item() == pytest.approx(4 * (p * (p / q).log()).sum().item())
    reverse = Options(teacher="x", temperature=2.0, direction="reverse")
    assert divergence(student, teacher, reverse).item() == pytest.approx(4 * (q * (q / p).log()).sum().item())


def test_a_teacher_of_other_words_is_refused(train, tiny_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    words = json.loads((other / "tokenizer.json").read_text())
    words["added_tokens"].append({**words["added_tokens"][-1], "id": 9999, "content": "<|new|>"})
    (other / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(BadInput, match=r"objective\.teacher: .* differs in vocabulary from"):
        train(ROWS, objective={"name": "distill", "teacher": str(other)})
