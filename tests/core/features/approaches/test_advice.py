"""Advice follows the numbers: other numbers give other advice, and what was not measured is named as such."""

import msgspec
import pytest

from finetop.core.features.approaches import columns
from finetop.core.features.approaches.advice import advice
from finetop.core.features.approaches.messages import ApproachRow, Gap, News, Price, Retained, Score

# a trained approach with a fair chance: three epochs over enough rows, and a loss that has settled
FAIR = {"rows_seen": 900, "rows_given": 900, "epochs_seen": 3.0, "losses": (2.0, 1.0), "loss_midway": 1.1}


def price(median, of="GPU", half=0.1, others=0.0):
    return Price(median, median - half, median + half, of, 8, 3, others)


def row(name, mean, gap=None, *, trains=False, half=0.05, **facts):
    facts = {**(FAIR if trains else {}), **facts}
    return ApproachRow(
        name=name, about="", trains=trains, state="measured",
        target=Score(mean, mean - half, mean + half, 50, facts.pop("seeds", 1), facts.pop("spread", None)),
        gap=None if gap is None else Gap(gap, gap - half, gap + half, 50), is_best=gap is None,
        retained=facts.pop("retained", Retained(0.0, [], same_weights=True)), **facts,
    )  # fmt: skip


def news(how, before, after, seconds):
    scores = [Score(value, value - 0.1, value + 0.1, 20) for value in (before, after)]
    change = after - before
    return News(how, *scores, Gap(change, change - 0.1, change + 0.1, 20), seconds)


def texts(rows, metric="token_f1"):
    by_topic = {}
    for piece in advice(rows, metric):
        by_topic.setdefault(piece.topic, []).append(piece.text)
    return {topic: " ".join(some) for topic, some in by_topic.items()}


RETRIEVAL = row("retrieval", 0.8, query=price(2.0), setup_s=1.0, news=news("index", 0.1, 0.8, 0.5))
LORA = row(
    "lora", 0.4, -0.4, trains=True, query=price(0.5), setup_s=301.0, gpu_s=300.0,
    news=news("train", 0.1, 0.15, 310.0),
)  # fmt: skip


def test_leaks_are_told_before_anything_is_recommended():
    leaky = msgspec.structs.replace(LORA, tested=70, leaked=8, leaked_scored=2)
    first = advice([RETRIEVAL, leaky], "token_f1")[0]
    many = "8 of 70 questions of the test are in the training rows, 2 of them scored"
    assert first.topic == "leaks" and first.text.startswith(f"{many}: lora may have seen the answers.")
    assert columns.LEAKED.text(leaky) == "8 of 70" and "leaks" not in texts([RETRIEVAL, LORA])


def test_knowledge_that_changes_goes_where_it_is_answered_soonest_if_that_is_proven():
    advice_text = texts([RETRIEVAL, LORA])["changing knowledge"]
    soonest = "new facts are answered better by retrieval, after 0.5 s of indexing"
    assert advice_text.startswith(f"Retrieve: {soonest}")
    assert "(0.10 to 0.80, by 0.70 [0.60, 0.80])" in advice_text
    assert "Not proven for lora, after 5.2 min of" in advice_text
    fluent = msgspec.structs.replace(LORA, news=news("train", 0.85, 0.9, 310.0))
    beside = texts([RETRIEVAL, fluent])["changing knowledge"]
    assert "Yet lora (0.85 to 0.90) scores better on them, and did before having them." in beside
    assert "Yet" not in advice_text
    misled = msgspec.structs.replace(LORA, news=news("train", 0.5, 0.1, 310.0))
    worse = "With them lora (0.50 to 0.10, by 0.40 [0.30, 0.50]) answered worse"
    lost = texts([RETRIEVAL, misled])["changing knowledge"]
    assert worse in lost and "Not proven" not in lost
    learned = msgspec.structs.replace(LORA, news=news("train", 0.1, 0.9, 310.0))
    both = texts([RETRIEVAL, learned])["changing knowledge"]
    assert both.startswith("Either way") and "then lora, after 5.2 min of training" in both
    assert "Best on them is lora." in both
    alone = texts([msgspec.structs.replace(RETRIEVAL, news=news("index", 0.1, 0.12, 0.5)), learned])
    assert alone["changing knowledge"].startswith("Retrain: new facts are answered better by lora")
    nobody = texts([LORA, row("prompt", 0.1, -0.3, news=News("", Score(0.1, 0, 0.2, 20)))])
    assert nobody["changing knowledge"].startswith("No approach is proven to answer new facts better")
    assert nobody["changing knowledge"].endswith("prompt learned none of them.")
    fewer = [msgspec.structs.replace(RETRIEVAL, news=news("index", 3.0, 1.0, 0.5)),
             msgspec.structs.replace(LORA, news=news("train", 3.0, 0.5, 310.0))]  # fmt: skip
    assert "Best on them is lora." in texts(fewer, "nats_per_token")["changing knowledge"]
    none = [msgspec.structs.replace(row_measured, news=None) for row_measured in (RETRIEVAL, LORA)]
    assert texts(none)["changing knowledge"].startswith("Not measured")


def test_what_cant_be_told_apart_is_not_called_better():
    forgot = msgspec.structs.replace(LORA, is_best=True, gap=None, retained=Retained(5.0, ["regressed"]))
    level = row("retrieval", 0.38, -0.02, query=price(2.0))
    best = texts([forgot, level])["on this target"]
    assert "Beware: lora REGRESSED" in best, "though another is cheaper"
    close = row("lora", 0.78, -0.02, trains=True, query=price(0.5), setup_s=100.0)
    advice_text = texts([RETRIEVAL, close])
    assert "lora can't be distinguished from it" in advice_text["on this target"]
    assert "cheapest of them is retrieval" not in advice_text
    assert "retrieval is also the cheapest" in advice_text["on this target"], "retrieval trains nothing"
    rows = "Were the difference of lora real, about 313 rows would show it"
    assert rows in advice_text["what would change this"]
    far = texts([RETRIEVAL, LORA])["on this target"]
    assert "lora, the next, is 0.40 [0.35, 0.45] behind it" in far


def test_form_is_advised_on_by_rules_alone_and_warned_of_where_it_costs_what_the_base_could():
    assert texts([RETRIEVAL, LORA])["style and format"].startswith("Not measured")
    forgot = Retained(7.5, ["regressed", "ok", "regressed"])
    lora = row("lora", 0.9, trains=True, retained=forgot, seeds=3, spread=0.2)
    prompt = row("prompt", 0.1, -0.8)
    advice_text = texts([lora, prompt], "rules")
    assert advice_text["style and format"].startswith("Train: lora keeps the rules better than prompt")
    assert "REGRESSED in 2 of 3 runs, by 7.5 points" in advice_text["style and format"]
    assert "A gentler setting of lora" in advice_text["what would change this"]
    assert "it moves the score more than the rows do" in advice_text["what would change this"]
    base = texts([row("prompt", 0.9), row("lora", 0.1, -0.8, trains=True)], "rules")
    assert base["style and format"].startswith("Don't train: prompt keeps the rules better")
    level = texts([row("prompt", 0.9), row("lora", 0.88, -0.02, trains=True)], "rules")
    assert level["style and format"].startswith("No proven difference")


def test_training_on_12_rows_whose_loss_rose_is_not_called_worse_than_asking():
    untrained = row("few-shot", 0.9, rows_seen=4)

    def said(**facts):
        lora = row("lora", 0.1, -0.8, trains=True, **facts)
        return texts([untrained, lora, row("prompt", 0.1, -0.8, rows_seen=0)], "rules")

    few = said(rows_seen=12, rows_given=12, losses=(2.0, 2.4))
    assert "Don't train" not in " ".join(few.values())
    assert few["style and format"].startswith("Not proven: few-shot keeps the rules better than lora (")
    assert (
        "but lora saw 12 of 12 rows, 3 epochs and its loss rose: train it on more rows or with a lower"
        " train.learning_rate before you decide" in few["style and format"]
    )
    assert few["what each saw"] == (
        "few-shot was shown 4 examples with each question; lora read 12 of 12 rows, 3 epochs, and its loss rose from"
        " 2.00 to 2.40; prompt saw none."
    )
    enough = said(rows_seen=2000, rows_given=2000, losses=(2.0, 1.0))
    assert enough["style and format"].startswith("Don't train: few-shot keeps the rules better than lora")
    assert "lora read 2,000 of 2,000 rows, 3 epochs;" in enough["what each saw"]
    assert said(rows_seen=2000, losses=(1.0, 2.0))["style and format"].startswith("Not proven")


@pytest.mark.parametrize(("facts", "why"), [
    # 8 steps of 2 rows, of 70: distinct rows that were read
    ({"rows_seen": 16, "rows_given": 70, "epochs_seen": 0.2286},
     "lora saw 16 of 70 rows, 0.23 epochs: train it longer before you decide"),
    ({"rows_seen": 400, "rows_given": 900, "epochs_seen": 0.44},
     "lora saw 400 of 900 rows, 0.44 epochs: train it longer"),
    ({"losses": (3.0, 1.0), "loss_midway": 2.0},
     "lora saw 900 of 900 rows, 3 epochs and its loss was still falling: train it longer"),
    ({"rows_seen": None, "epochs_seen": None}, "how much lora read is not known"),
])  # fmt: skip
def test_nothing_speaks_against_training_that_had_no_fair_chance(facts, why):
    unfair = row("lora", 0.1, -0.8, trains=True, **facts)
    full, trained = row("full", 0.2, -0.7, trains=True), row("lora", 0.9, trains=True, **facts)
    untrained = row("few-shot", 0.9, query=price(1.0))
    advice_text = texts([untrained, full, unfair], "rules")
    assert advice_text["style and format"].startswith("Not proven: few-shot keeps the rules better than full")
    assert why in advice_text["style and format"]
    assert f"It says little about training: {why}" in advice_text["on this target"]
    fair = texts([untrained, full, row("lora", 0.1, -0.8, trains=True)], "rules")
    assert fair["style and format"].startswith("Don't train") and "says little" not in fair["on this target"]
    assert "says little" not in texts([trained, row("few-shot", 0.1, -0.8)], "rules")["on this target"]
    news_missed = msgspec.structs.replace(unfair, news=news("train", 0.1, 0.12, 30.0))
    knowledge = texts([RETRIEVAL, news_missed])["changing knowledge"]
    assert knowledge.startswith("Retrieve") and f"That says little about training: {why}" in knowledge


def test_prices_that_overlap_are_the_same_and_a_busy_machine_is_named():
    wide = price(2.4, "CPU", 0.6, others=0.83)
    lora = msgspec.structs.replace(LORA, query=wide, gpu_s=None)
    retrieval = msgspec.structs.replace(RETRIEVAL, query=price(1.7, "CPU", 0.2))
    advice_text = texts([retrieval, lora])["price"]
    assert "2.40 CPU s [1.80, 3.00] a query" in advice_text
    assert "1.70 CPU s [1.50, 1.90] a query" in advice_text
    assert "A query costs the same with both; lora is trained first." in advice_text
    assert "lora: priced on a busy machine" in advice_text
    nearly = msgspec.structs.replace(LORA, query=price(2.0, "CPU", 0.01))
    near = texts([msgspec.structs.replace(RETRIEVAL, query=price(2.1, "CPU", 0.01)), nearly])["price"]
    assert "the same with both" in near, "jobs that measure one after another differ by a tenth"
    cheap = texts([retrieval, msgspec.structs.replace(LORA, query=price(0.5, "CPU"), gpu_s=None)])["price"]
    assert "the CPU time of its training is not measured" in cheap and "paid back" not in cheap
    level = row("few-shot", 0.78, -0.02, query=price(1.8, "CPU", 0.2))
    target = texts([retrieval, level])["on this target"]
    assert "By price retrieval and few-shot are the same" in target and "cheapest" not in target


def beside(row_measured, metric, mean, gap=None):
    """Return a row with a score by another metric, and its difference from the best by that metric."""
    gaps = {} if gap is None else {metric: Gap(gap, gap - 0.2, gap + 0.2, 50)}
    others = {metric: Score(mean, mean - 0.1, mean + 0.1, 50)}
    return msgspec.structs.replace(row_measured, others=others, other_gaps=gaps)


def test_form_is_read_from_rules_that_were_measured_beside_what_is_compared_by():
    def said(*rows):
        return texts(rows)["style and format"]

    forgot = msgspec.structs.replace(LORA, retained=Retained(7.5, ["regressed"]))
    trained = said(beside(RETRIEVAL, "rules", 0.1, -0.8), beside(forgot, "rules", 0.9))
    assert trained.startswith("Train:") and "paired difference 0.80 [0.60, 1.00]" in trained
    assert "REGRESSED in 1 of 1 runs" in trained
    assert said(beside(RETRIEVAL, "rules", 0.9), beside(LORA, "rules", 0.1, -0.8)).startswith("Don't train")
    near = said(beside(RETRIEVAL, "rules", 0.9), beside(LORA, "rules", 0.8, -0.1))
    assert near.startswith("No proven difference")


def test_vocabulary_is_read_from_nats_where_they_were_measured():
    def with_nats(row_measured, mean, gap=None):
        return beside(row_measured, "nats_per_token", mean, gap)

    trained = texts([with_nats(RETRIEVAL, 3.0, 2.0), with_nats(LORA, 1.0)])["a domain's vocabulary"]
    assert trained.startswith("Train:") and "paired difference 2.00 [1.80, 2.20]" in trained
    advice_text = texts([with_nats(RETRIEVAL, 1.0), with_nats(LORA, 3.0, 2.0)])["a domain's vocabulary"]
    assert advice_text.startswith("Don't train: retrieval expects the wording of right answers better")
    scratch = with_nats(row("from-scratch", 0.0, -0.8, trains=True), 8.0, 7.0)
    only_scale = texts([with_nats(RETRIEVAL, 1.0), scratch])["a domain's vocabulary"]
    assert only_scale.startswith("Not measured: no approach that trains"), "from scratch is there for scale"
    level = texts([with_nats(RETRIEVAL, 1.0), with_nats(LORA, 1.1, 0.1)])["a domain's vocabulary"]
    assert level.startswith("No proven difference")
    assert texts([RETRIEVAL, LORA])["a domain's vocabulary"].startswith("Not measured")


def test_training_is_paid_back_by_shorter_queries_or_it_is_not():
    assert "In GPU time, lora pays off after 200 queries" in texts([RETRIEVAL, LORA])["price"]
    slow = msgspec.structs.replace(LORA, query=price(3.0))
    assert "costs more once and no less a query" in texts([RETRIEVAL, slow])["price"]


def test_what_was_not_measured_is_said():
    why = "bitsandbytes is not installed"
    left_out = ApproachRow(name="qlora", about="", trains=True, state="left out", message=why)
    unchecked = msgspec.structs.replace(LORA, retained=None, gpu_s=None)
    advice_text = texts([RETRIEVAL, unchecked, left_out])["not measured"]
    assert "qlora: bitsandbytes is not installed." in advice_text and "Whether lora forgot" in advice_text
    assert "GPU time and energy: n/a (no GPU)" in advice_text
    assert "few-shot, from-scratch, full, prompt and retrieval-lora: no run" in advice_text
    notes = ["documents: a.bin: is binary.", *["documents: b: is empty."] * 5]
    noted = texts([msgspec.structs.replace(RETRIEVAL, notes=notes), LORA])["not measured"]
    assert "retrieval: documents: a.bin: is binary." in noted and "and 2 more" in noted
    late = ApproachRow(name="full", about="", trains=True, state="under way")
    assert "What full scores: not measured yet." in texts([RETRIEVAL, LORA, late])["what would change this"]
    assert texts([RETRIEVAL])["on this target"] == "No advice: only retrieval is measured yet."


def test_the_best_of_those_that_fail_is_not_praised():
    poor = row("few-shot", 0.08, half=0.06)
    advice_text = texts([poor, row("prompt", 0.02, -0.06)], "rules")["on this target"]
    assert "None solves this: of the answers of few-shot at most 14 % are right." in advice_text
    half = texts([row("a", 0.45, half=0.06), row("b", 0.4, -0.05)], "rules")["on this target"]
    by_f1 = texts([poor, row("prompt", 0.02, -0.06)])["on this target"]  # which is no share
    assert "None solves this" not in half + by_f1
    alike = [row("prompt", 0.0, query=price(1.0, "CPU")), row("lora", 0.0, 0.0, trains=True)]
    same = texts(alike)["on this target"]
    assert same.startswith("All score the same on 50 rows, token f1 0.00") and "scores best" not in same
    assert "The cheapest of them is prompt: no set-up, 1.00 CPU s [0.90, 1.10] a query." in same
