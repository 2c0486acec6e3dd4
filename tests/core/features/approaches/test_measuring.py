"""Measuring one run on a tiny real model: rows, prices, new facts, and cached scores."""

import json
from collections import namedtuple

import msgspec
import pytest

from finetop.core.errors import FinetopError
from finetop.core.features.approaches import approaches, job as _job, price as _price
from finetop.core.features.approaches.job import request_of
from finetop.core.protocol import events as told
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.job import Job
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home
from finetop.core.runtime.stop_signal import Stop

ROWS = [
    ("What opens at nine?", "The shop."),
    ("Where are you?", "In the old mill."),
    ("Who mends?", "We do."),
]


@pytest.fixture
def folder(tmp_path, tiny_model):
    def rows(name, some):
        lines = [json.dumps({"prompt": question, "completion": answer}) for question, answer in some]
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    rows("train.jsonl", ROWS)
    rows("test.jsonl", ROWS)
    rows("news.jsonl", [("What is new?", "A lamp.")])
    (tmp_path / "docs.md").write_text("# Shop\nThe shop opens at nine.\n")
    (tmp_path / "new.md").write_text("# News\nA lamp is new.\n")
    return tmp_path


def measure(folder, tiny_model, approach, sets=(), device="cpu"):
    text = f"""recipe: 1
name: kb
method: {{name: lora}}
objective: {{name: sft}}
model: {{id: "{tiny_model}", dtype: float32}}
data: {{train: [{{path: train.jsonl}}]}}
ask: {{system: Be brief., documents: [docs.md], top_k: 1}}
check:
  general: null
  target: {{path: test.jsonl, metric: [token_f1, nats_per_token], written: 2, max_new_tokens: 4}}
approaches: {{update: {{documents: [new.md], train: [{{path: news.jsonl}}], test: news.jsonl}}}}
"""
    points, _ = approaches.planned_runs(resolve_text(text, sets, folder).recipe, [approach])
    spec = JobSpec(1, 1, 1, "kb", "approach", points[0].recipe, {"approach": approach})
    home = Home(folder / "home")
    (folder / "home" / "runs").mkdir(parents=True, exist_ok=True)
    log = event_log.EventLog(folder / "events.jsonl")
    measured = _job.measure(request_of(Job(spec, folder, log, Stop()), device), home, log, folder)
    return told.decode(msgspec.json.encode({"n": 1, "t": 1.0, "e": measured})).e


@pytest.mark.slow
def test_each_row_has_its_score_and_a_query_its_price(folder, tiny_model):
    prompt = measure(folder, tiny_model, "prompt")
    assert {key: len(rows) for key, rows in prompt.scores.items()} == {"token_f1": 2, "nats_per_token": 3}
    nats = prompt.scores["nats_per_token"]
    assert [row.weight for row in nats] != [1.0] * 3 and all(row.value > 0 for row in nats)
    assert [len(query.spent_s) for query in prompt.queries] == [3, 3, 3], "three rounds of the same questions"
    assert all(spent > 0 for query in prompt.queries for spent in query.spent_s) and prompt.price_of == "CPU"
    assert 0 <= prompt.others <= 1 and prompt.memory_gib > 0.1 and prompt.step is None
    assert len(prompt.news["nats_per_token"]) == 1 and not prompt.news_after
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    (test,) = (query for line in lines if isinstance(query := told.decode(line).e, told.SourceRead))
    assert (test.use, test.source, test.rows, test.limit) == ("test", "test.jsonl", 3, None)
    assert (folder / "data" / f"{test.content[:16]}.rows").stat().st_size == 3 * 8

    measured = measure(folder, tiny_model, "retrieval")
    asked = [[query.row for query in one.queries] for one in (measured, prompt)]
    assert asked[0] == asked[1], "priced on the same rows"
    assert _job.result_line(measured).endswith(" CPU s a query")
    assert measured.prompt_tokens > prompt.prompt_tokens and measured.passages == 1 and measured.index_s > 0
    assert measured.news_s > 0 and len(measured.news_after["token_f1"]) == 1
    before, after = (told["nats_per_token"][0].value for told in (measured.news, measured.news_after))
    assert before != after, "it was looked up"

    kept = sorted((folder / "home" / "scores").iterdir())
    again = measure(folder, tiny_model, "retrieval")
    assert again.scores == measured.scores and sorted((folder / "home" / "scores").iterdir()) == kept

    few = measure(folder, tiny_model, "few-shot", ["ask.pick=nearest", "ask.shots=2"])
    assert few.prompt_tokens > prompt.prompt_tokens and few.news_after, "the new rows are among its examples"
    assert (few.tested, few.leaked) == (3, ["0", "1", "2"]), "the test is in the training rows"
    assert not prompt.leaked and not measured.leaked, "they read no training rows"
    fixed = measure(folder, tiny_model, "few-shot", ["ask.shots=2"])
    assert not fixed.news_after, "they stay as they are"


def test_what_others_take_of_the_cpus_is_all_that_was_busy_but_for_this_process(monkeypatch):
    Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")
    began = (0.0, Times(10.0, 0.0, 0.0, 90.0, 0.0, 0.0, 0.0), 5.0)
    ended = (10.0, Times(27.0, 0.0, 1.0, 92.0, 0.0, 2.0, 0.0), 13.0)
    samples = iter([began, ended])
    monkeypatch.setattr(_price.Load, "_sample", lambda _: next(samples))
    monkeypatch.setattr(_price.psutil, "cpu_count", lambda: 2)
    assert _price.Load().others() == pytest.approx((18.0 - 8.0) / 20.0)


def test_what_cant_be_measured_says_why(folder, tiny_model):
    (folder / "docs.md").write_text(" \n")
    with pytest.raises(FinetopError, match="documents"):
        measure(folder, tiny_model, "retrieval")
    spec = JobSpec(1, 1, 1, "kb", "approach", {}, {"approach": "guess"})
    with pytest.raises(FinetopError, match=r"args\.approach is 'guess'"):
        request_of(Job(spec, folder, event_log.EventLog(folder / "events.jsonl"), Stop()), "cpu")


def test_texts_are_measured_by_their_nats_and_no_query_is_timed(folder, tiny_model):
    (folder / "test.jsonl").write_text('{"text": "The shop opens at nine."}\n{"text": "We mend lamps."}\n')
    sets = ["check.target.metric=nats_per_token", "approaches.update=null"]
    measured = measure(folder, tiny_model, "retrieval", sets)
    assert [row.row for row in measured.scores["nats_per_token"]] == ["0.0", "1.0"]
    assert (measured.queries, measured.notes) == ([], [_job.NO_PROMPTS])
    line = _job.result_line(measured)
    assert line.startswith("retrieval: nats_per_token ") and line.endswith(" tokens of prompt")
    assert measured.scores == measure(folder, tiny_model, "prompt", sets).scores


@pytest.mark.gpu(packages=("lm_eval",))
def test_on_a_gpu_the_same_is_measured_and_memory_is_the_gpus(folder, tiny_model):
    for approach in ("prompt", "retrieval"):
        here, there = (measure(folder, tiny_model, approach, device=device) for device in ("cpu", "cuda:0"))
        assert (here.memory_of, there.memory_of) == ("host", "GPU")
        nats = [[row.value for row in measurement.scores["nats_per_token"]] for measurement in (here, there)]
        assert nats[1] == pytest.approx(nats[0], abs=1e-3)
        assert there.price_of == "GPU" and there.queries and there.prompt_tokens == here.prompt_tokens


@pytest.mark.gpu(needs="memory", packages=("lm_eval",))
def test_memory_on_a_gpu_is_some(folder, tiny_model):
    assert measure(folder, tiny_model, "prompt", device="cuda:0").memory_gib > 0
