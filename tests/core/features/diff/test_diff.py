"""Two sample logs: what joins, what decides, and the verdict; items that do not join are counted and named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sample_logs import DATE, Row, choice_row, right, sha, write_log, write_results, written_row
from scipy.stats import binom

from finetop.core.errors import BadInput
from finetop.core.features.diff.diff import CAP, diff
from finetop.core.features.diff.join import DiffOptions
from finetop.core.protocol.check_result import read
from finetop.core.wording.verdicts import verdict_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rows(count: int, knows: Callable[[int], bool] = right, **more: Any) -> list[Row]:
    return [choice_row(number, knows(number), **more) for number in range(count)]


def drop_of(every: int) -> Callable[[int], bool]:
    """Return what a tuned model knows that has lost every `every`-th item."""
    return lambda number: right(number) and number % every != 1


def compare(folder: Path, **asked: Any) -> dict[str, Any]:
    return diff(folder / "a", folder / "b", DiffOptions(**asked))


def logs(folder: Path, base: dict[str, list[Row]], tuned: dict[str, list[Row]] | None = None) -> None:
    for name, tasks in (("a", base), ("b", base if tuned is None else tuned)):
        for task, task_rows in tasks.items():
            write_log(folder / name, task, task_rows)


def compared(
    folder: Path, base: dict[str, list[Row]], tuned: dict[str, list[Row]] | None = None, **asked: Any
) -> dict[str, Any]:
    logs(folder, base, tuned)
    return compare(folder, **asked)


def task_of(result: dict[str, Any], name: str = "t") -> dict[str, Any]:
    return next(task for task in result["joined"]["tasks"] if task["task"] == name)


@pytest.mark.parametrize("version", ["0.4.3", "0.4.5", "0.4.7", "0.4.13"])
def test_identical_logs_are_ok_with_no_flips(tmp_path, version):
    result = compared(tmp_path, {"t": rows(200, version=version)}, {"t": rows(200, version="0.4.13")})
    outcome = read(result)
    assert verdict_line(outcome) == "OK  nothing lost (limit 3.0), all 200 items scored"
    assert (outcome.lost, outcome.won, outcome.flips) == (0, 0, ())
    assert result["joined"]["share"] == 1.0
    assert outcome.notes == ("200 of 200 items joined (100 %)",)


def test_a_drop_is_regressed_with_both_answers_of_each_flip(tmp_path):
    outcome = read(compared(tmp_path, {"t": rows(200)}, {"t": rows(200, drop_of(10))}))
    assert outcome.verdict == "regressed"
    assert (outcome.base, outcome.tuned, outcome.drop) == (0.9, 0.8, pytest.approx(0.1))
    assert (outcome.lost, outcome.won, len(outcome.flips)) == (20, 0, 20)
    flip = next(flip for flip in outcome.flips if flip.item == "41")
    assert (flip.task, flip.question) == ("t", "Question: What is 41?\nAnswer:")
    assert flip.gold == flip.base_answer == "choice 1 of 41" and flip.tuned_answer == "choice 2 of 41"
    assert [(kind.task, kind.n, kind.lost, kind.won) for kind in outcome.categories] == [("t", 200, 20, 0)]


def test_a_drop_that_may_be_chance_is_no_verdict(tmp_path):
    # The base knows all but every tenth; the tuned model lost eight of those and won the first four of the others.
    def tuned(number: int) -> bool:
        return number % 11 != 2 if right(number) else number < 40

    flips = [right(number) - tuned(number) for number in range(100)]
    lost, won = flips.count(1), flips.count(-1)
    outcome = read(compared(tmp_path, {"t": rows(100)}, {"t": rows(100, tuned)}))
    assert (outcome.lost, outcome.won, lost - won >= 3) == (lost, won, True)
    assert outcome.verdict == "no_verdict"
    assert outcome.chance == pytest.approx(binom.sf(lost - 1, lost + won, 0.5))
    assert "points on these 100 items, which chance alone does" in verdict_line(outcome)


def test_a_collapsed_task_is_named_though_the_pool_stands(tmp_path):
    tasks = {f"still{number}": rows(100) for number in range(19)}
    broken = rows(120, lambda number: right(number) and number % 3 > 0)
    outcome = read(compared(tmp_path, {**tasks, "broken": rows(120)}, {**tasks, "broken": broken}))
    assert outcome.verdict == "regressed" and outcome.decided_by == "task"
    assert [task.task for task in outcome.tasks if task.mark == "lost"] == ["broken"]
    assert outcome.drop is not None and outcome.drop < 0.03
    assert "a task is lost: broken" in verdict_line(outcome)


def test_the_largest_task_does_not_decide_alone_and_one_task_is_used_whole(tmp_path):
    assert read(compared(tmp_path / "one", {"t": rows(600)})).items_used == 600
    big = {"big": rows(600)}
    result = compared(tmp_path, {**big, "small": rows(300)}, {**big, "small": rows(300, drop_of(4))})
    totals = {task["task"]: task["total"] for task in result["tasks"]}
    assert totals == {"big": CAP, "small": 300}
    assert "at most 500 items a task count, drawn by seed 1: 1 task has more" in result["notes"]
    assert {task["total"] for task in compare(tmp_path, cap=50)["tasks"]} == {50}
    assert {task["total"] for task in compare(tmp_path, cap=0)["tasks"]} == {600, 300}


def test_under_90_percent_joined_there_is_no_verdict(tmp_path):
    result = compared(tmp_path, {"t": rows(200)}, {"t": rows(178)})
    assert (task_of(result)["joined"], task_of(result)["only_base"]) == (178, 22)
    why = "178 of 200 items joined (89 %), under 90 %: 22 only in the base's log. Score both"
    assert result["verdict"] == "no_verdict" and result["reason"].startswith(why)
    assert read(compare(tmp_path, joined=0.85)).verdict == "ok"
    result = compared(tmp_path, {"t": rows(200)}, {"t": rows(182)})
    assert (task_of(result)["joined"], task_of(result)["only_base"]) == (182, 18)
    assert result["verdict"] == "ok"
    assert read(compare(tmp_path, joined=0.95)).verdict == "no_verdict"
    # a task that joined badly within a good whole is named
    result = compared(tmp_path, {"t": rows(700), "u": rows(100)}, {"t": rows(700), "u": rows(40)})
    assert result["verdict"] == "ok"
    assert "u: only 40 of its 100 items joined" in result["notes"]


def test_what_does_not_join_is_counted_and_named(tmp_path):
    other_target, no_score = rows(100), rows(100)
    other_target[7] = {**other_target[7], "target_hash": sha("something else")}
    del other_target[8]["target_hash"]  # joins: a target counts where both have one
    no_score[4]["acc"], no_score[9]["acc"] = float("nan"), None
    base = {"missing": rows(200)[5:], "target": rows(100), "score": rows(100), "filter": rows(9, filter="x")}
    tuned = {
        "missing": rows(200)[:-3],
        "target": other_target,
        "score": no_score,
        "filter": rows(9, filter="y"),
    }
    result = compared(tmp_path, {**base, "x": rows(9)}, {**tuned, "y": rows(9)})
    missing = task_of(result, "missing")
    assert (missing["joined"], missing["only_base"], missing["only_tuned"]) == (192, 3, 5)
    assert missing["other_prompt"] == 0
    assert (task_of(result, "target")["other_target"], task_of(result, "target")["joined"]) == (1, 99)
    assert (task_of(result, "score")["no_score"], task_of(result, "score")["joined"]) == (2, 98)
    assert task_of(result, "filter")["left_out"] == "no filter in common (x; y)"
    assert result["verdict"] == "ok"
    for note in (
        f"target: 1 items have another target (first: samples_target_{DATE}.jsonl:8)",
        f"score: 2 items have no finite acc (first: samples_score_{DATE}.jsonl:5)",
        "left out  x: only in the base's log",
        "left out  y: only in the tuned model's log",
    ):
        assert note in result["notes"]


def test_another_prompt_does_not_join_nor_does_another_task(tmp_path):
    logs(tmp_path, {"t": rows(100)}, {"t": rows(100, prompt="Chat: {}")})
    write_results(tmp_path / "a", n_shot={"t": 0})
    write_results(tmp_path / "b", n_shot={"t": 5})
    result = compare(tmp_path)
    assert result["verdict"] == "no_verdict"
    assert result["reason"].startswith("0 of 100 items joined (0 %), under 90 %: 100 under another prompt.")
    note = "t: 100 documents had another prompt (0 examples in the base's, 5 in the tuned model's)"
    assert note in result["notes"]
    assert read(compare(tmp_path, joined=0)).verdict == "no_verdict"  # nothing remains to judge
    # no task in common
    result = compared(tmp_path / "other", {"x": rows(9)}, {"y": rows(9)})
    why = "no task could be compared: x: only in the base's log; y: only in the tuned model's log."
    assert (result["verdict"], result["reason"]) == ("no_verdict", why)


def test_another_task_version_leaves_the_task_out(tmp_path):
    logs(tmp_path, {"t": rows(100), "u": rows(100)})
    write_results(tmp_path / "a", versions={"t": 1.0, "u": 1})
    write_results(tmp_path / "b", versions={"t": 2.0, "u": "1.0"})
    result = compare(tmp_path)
    assert task_of(result)["left_out"] == "version 1 in the base's log, 2 in the tuned model's"
    assert [task["task"] for task in result["tasks"]] == ["u"]
    assert result["verdict"] == "ok" and result["joined"]["union"] == 100
    assert "left out  t: version 1 in the base's log, 2 in the tuned model's" in result["notes"]


def test_unbounded_metrics_never_decide(tmp_path):
    def text_row(number: int) -> Row:
        row = choice_row(number, True, word_perplexity=[-12.5, 9], bleu=31.0 + number)
        row["arguments"] = {"gen_args_0": {"arg_0": "some text"}}
        return row

    both = {"t": rows(100), "wikitext": [text_row(number) for number in range(40)]}
    result = compared(tmp_path, both)
    assert result["verdict"] == "ok"
    why = "no metric that is bounded to [0, 1] in both logs (word_perplexity, bleu)"
    assert task_of(result, "wikitext")["left_out"] == why
    named = compare(tmp_path, metrics={"wikitext": "bleu"})
    why = "bleu runs from 31 to 70; only scores in [0, 1] can decide"
    assert task_of(named, "wikitext")["left_out"] == why


def test_lambadas_perplexity_leaves_the_choice_to_acc(tmp_path):
    def last_word(number: int) -> Row:
        row = choice_row(number, True, perplexity=-0.0, acc=1.0 if right(number) else 0.0)
        row["arguments"] = {"gen_args_0": {"arg_0": f"text {number}", "arg_1": " word"}}
        return row

    both = {"lambada_openai": [last_word(number) for number in range(100)]}
    assert task_of(compared(tmp_path, both), "lambada_openai")["metric"] == "acc"
    with_named = compare(tmp_path, metrics={"": "perplexity"})
    assert with_named["verdict"] == "no_verdict"
    assert "perplexity never decides" in with_named["reason"]


def test_the_metric_by_default_and_by_name(tmp_path):
    def scored(number: int) -> Row:
        return choice_row(number, True, f1=0.5, acc_norm=1.0 if number % 2 else 0.0, acc=float(right(number)))

    both = {"t": [scored(number) for number in range(100)], "u": rows(100, f1=0.75)}
    result = compared(tmp_path, both)
    assert [task_of(result, name)["metric"] for name in ("t", "u")] == ["acc", "f1"]
    chosen = compare(tmp_path, metrics={"t": "acc_norm", "": "f1"})
    assert [task_of(chosen, name)["metric"] for name in ("t", "u")] == ["acc_norm", "f1"]
    assert {task["task"]: task["base"] for task in chosen["tasks"]}["t"] == 0.5
    missing = compare(tmp_path, metrics={"": "acc"})
    assert task_of(missing, "u")["left_out"] == "no score acc in both logs (there is f1)"


def test_lower_is_better_is_no_drop_and_scores_between_right_and_wrong_work_without_mcnemar(tmp_path):
    logs(tmp_path, {"t": rows(50, wer=0.25)})
    write_results(tmp_path / "a", higher_is_better={"t": {"wer": False}})
    assert "no task could be compared" in compare(tmp_path)["reason"]
    assert task_of(compare(tmp_path, metrics={"t": "wer"}))["left_out"] == "lower is better in wer"
    outcome = read(compared(tmp_path, {"t": rows(60, f1=0.75)}, {"t": rows(60, f1=0.5)}))
    assert outcome.verdict == "regressed" and outcome.drop == pytest.approx(0.25)
    assert outcome.mcnemar_p is None and outcome.lost == 60


def test_filters(tmp_path):
    found_rows = [
        written_row(number, number % 10 < good, filter=name)
        for name, good in (("strict-match", 7), ("flexible-extract", 9))
        for number in range(100)
    ]
    logs(tmp_path, {"gsm8k": found_rows})
    strict, flexible = "strict-match", "flexible-extract"
    for asked, base, used, other in (
        ("", 0.7, strict, flexible),
        (flexible, 0.9, flexible, strict),
        (strict, 0.7, strict, flexible),
    ):
        result = compare(tmp_path, filter=asked)
        assert result["tasks"][0]["base"] == base
        assert f"gsm8k: filter {used} counts, not {other}" in result["notes"]


def test_an_old_log_joins_a_new_one_by_the_place_of_its_filters(tmp_path):
    def twice(names: tuple[str, str], **more: Any) -> list[Row]:
        graded = [(name, good, n) for name, good in zip(names, (False, True), strict=True) for n in range(50)]
        return [written_row(n, good, filter=name, said="It is 3, no 4.", **more) for name, good, n in graded]

    old, new = twice(("", ""), version="0.4.3"), twice(("strict", "loose"))
    result = compared(tmp_path, {"gsm8k": old}, {"gsm8k": new})
    assert (task_of(result, "gsm8k")["joined"], task_of(result, "gsm8k")["filter"]) == (50, "#1")
    second = compare(tmp_path, filter="loose")
    assert (task_of(second, "gsm8k")["filter"], second["tasks"][0]["base"]) == ("#2", 1.0)


def test_repeats_and_broken_lines_are_said_with_their_place(tmp_path):
    logs(tmp_path, {"t": rows(100)}, {"t": [*rows(100), choice_row(3, True), choice_row(5, False)]})
    file = next((tmp_path / "a").rglob("*.jsonl"))
    file.write_bytes(file.read_bytes()[:-30])
    result = compare(tmp_path)
    name = f"samples_t_{DATE}.jsonl"
    assert f"base's log  1 lines that are not a JSON object (first: {name}:100)" in result["notes"]
    assert f"tuned model's log  1 repeated documents, counted once (first: {name}:101)" in result["notes"]
    wrong = f"tuned model's log  1 repeated documents with other scores, the first counts (first: {name}:102)"
    assert wrong in result["notes"]
    assert (result["joined"]["joined"], result["joined"]["union"]) == (99, 100)


@pytest.mark.parametrize(
    ("choices", "target", "chance"),
    [
        ((), None, 0.25),
        (("no", "yes"), lambda n: int(n % 10 < 7), 0.7),
        (("a", "b", "c"), lambda n: n % 3, 0.34),
    ],
)
def test_chance(tmp_path, choices, target, chance):
    """A base that guesses is unmeasurable, and the reason names the chance."""

    def guessed(n: int) -> Row:
        return choice_row(n, n % 100 < 100 * chance, choices=choices, target=target(n) if target else None)

    result = compared(tmp_path, {"t": [guessed(n) for n in range(100)]})
    assert result["verdict"] == "no_verdict"
    assert f"within 3 standard errors of chance ({chance:.3f})" in result["reason"]


def test_written_answers_have_no_chance_and_one_right_answer_for_all_is_unmeasurable(tmp_path):
    both = {"gsm8k": [written_row(number, number % 5 == 0) for number in range(100)]}
    assert compared(tmp_path / "written", both)["verdict"] == "ok"
    both = {"t": [choice_row(number, True, choices=("no", "yes"), target=1) for number in range(30)]}
    assert compared(tmp_path / "one", both)["verdict"] == "no_verdict"


def test_renamed_files_are_compared_by_their_only_task(tmp_path):
    named = write_log(tmp_path, "arc_easy", rows(50))
    base, tuned = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    base.write_bytes(named.read_bytes())
    tuned.write_bytes(named.read_bytes())
    assert task_of(diff(base, tuned, DiffOptions()), "before")["joined"] == 50
    assert task_of(diff(base, named, DiffOptions()), "arc_easy")["joined"] == 50
    for name in ("samples_base.jsonl", "samples_tuned.jsonl"):
        (tmp_path / name).write_bytes(named.read_bytes())
    half_named = diff(tmp_path / "samples_base.jsonl", tmp_path / "samples_tuned.jsonl", DiffOptions())
    assert task_of(half_named, "base")["joined"] == 50
    other = write_log(tmp_path, "piqa", rows(50))
    # Two different task names of the harness.
    assert diff(named, other, DiffOptions())["verdict"] == "no_verdict"


def test_the_models_and_the_plan_are_in_the_result(tmp_path):
    logs(tmp_path, {"t": rows(50)})
    write_results(tmp_path / "a")
    result = compare(tmp_path)
    named = {"model_name": "org/model", "lm_eval_version": "0.4.13"}
    assert result["models"]["base"] == {"path": str(tmp_path / "a"), **named}
    assert len(result["plan_hash"]) == 64 and result["plan_hash"] == compare(tmp_path)["plan_hash"]
    assert compare(tmp_path, seed=2)["plan_hash"] != result["plan_hash"]
    assert result["seconds"] > 0
    json.dumps(result)


def test_swapping_the_logs_turns_the_drop_around(tmp_path):
    logs(tmp_path, {"t": rows(200), "u": rows(200)}, {"t": rows(200, drop_of(10)), "u": rows(200)})
    there, back = read(compare(tmp_path)), read(diff(tmp_path / "b", tmp_path / "a", DiffOptions()))
    assert there.drop is not None and back.drop == -there.drop
    assert (there.lost, there.won) == (back.won, back.lost)


def test_what_cannot_be_asked(tmp_path):
    logs(tmp_path, {"t": rows(20)})
    for asked, message in (
        ({"metrics": {"tt": "acc"}}, "there is no task tt. Options: t"),
        ({"metrics": {"": "acc_nrm"}}, "no metric is acc_nrm"),
        ({"metrics": {"t": "ac"}}, "no metric of t is ac. Did you mean acc"),
        ({"filter": "nonee"}, "no filter is nonee. Did you mean none"),
        ({"margin": 0.0}, "margin is 0"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"alpha": 1.0}, "alpha is 1"),
        ({"cap": -1}, "--cap is -1"),
        ({"joined": 1.5}, "--joined is 1.5"),
    ):
        with pytest.raises(BadInput, match=message):
            compare(tmp_path, **asked)


@pytest.mark.slow
def test_the_harness_itself(tmp_path, tiny_model):
    """What lm-evaluation-harness 0.4.13 writes for two models with its own tracker is read and joined completely."""
    import lm_eval
    import torch
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    items = [{"q": f"The shop {n} is", "c": ["open now", f"shut at {n}"], "gold": n % 2} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, items)))
    files = {"test": str(tmp_path / "rows.jsonl")}
    shared = {"dataset_path": "json", "test_split": "test", "doc_to_text": "{{q}}"}
    shared |= {"dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")}}
    shared |= {"metadata": {"version": 1.0}}
    shops: dict[str, Any] = {"task": "shops", "output_type": "multiple_choice", "doc_to_target": "gold"}
    shops |= {"doc_to_choice": "c", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
    texts: dict[str, Any] = {"task": "texts", "output_type": "loglikelihood_rolling", "doc_to_text": ""}
    texts |= {"doc_to_target": "{{q}}", "metric_list": [{"metric": "word_perplexity"}]}
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for name in ("a", "b"):
        if name == "b":
            torch.manual_seed(1)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.add_(torch.randn_like(weight), alpha=0.2)
        tracker = EvaluationTracker(output_path=str(tmp_path / name))
        evaluated = lm_eval.simple_evaluate(
            HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device="cpu"),
            tasks=[{**shared, **shops}, {**shared, **texts}],
            task_manager=TaskManager(include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
            evaluation_tracker=tracker,
        )
        written = evaluated.pop("samples")
        tracker.save_results_aggregated(results=evaluated, samples=written)
        for task in evaluated["configs"]:
            tracker.save_results_samples(task_name=task, samples=written[task])
        assert len(written["shops"]) == 40
    result = compare(tmp_path, joined=1.0)
    shops = task_of(result, "shops")
    assert (shops["joined"], shops["metric"], shops["filter"], shops["left_out"]) == (40, "acc", "none", "")
    assert "no metric that is bounded" in task_of(result, "texts")["left_out"]
    assert result["models"]["base"]["lm_eval_version"] == "0.4.13"
    row = result["tasks"][0]
    scores = {}
    for name in ("a", "b"):
        written = json.loads(next((tmp_path / name).rglob("results_*.json")).read_text())
        scores[name] = float(written["results"]["shops"]["acc,none"])
    assert row["base"] == pytest.approx(scores["a"])
    assert row["tuned"] is None or row["tuned"] == pytest.approx(scores["b"])
    fixed = compare(tmp_path, metrics={"shops": "acc_norm"})
    assert task_of(fixed, "shops")["metric"] == "acc_norm"
