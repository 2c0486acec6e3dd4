"""What each selector takes of a data set, in this process: orders of rows, computed by hand where possible."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from finetop.core.errors import BadInput, NotFound
from finetop.core.features.select import selectors as select
from finetop.core.features.select.losses import Scorer
from finetop.core.features.select.pool import open_pool
from finetop.core.models.resolved import ResolvedModel
from finetop.core.protocol import tags
from finetop.core.recipe.schema import Source
from finetop.core.runtime.home import Home

ROWS = [
    ("What opens at nine?", "The shop opens at nine."),
    ("What opens at nine?", "The shop opens at nine!"),
    ("Where are you?", "Behind the station."),
    ("Can you mend my radio?", "Yes, we mend radios, lamps and clocks, and we do it while you wait for it."),
    ("Where is the shop?", "In the old mill."),
]


def opened(file, **columns):
    return open_pool(Source(path=str(file), columns=columns), lambda what, done, total: None)


def pool_of(folder, rows=ROWS):
    file = folder / "rows.jsonl"
    file.write_text(
        "\n\n".join(json.dumps({"prompt": asked, "completion": answer}) for asked, answer in rows)
    )
    pool = opened(file)
    pool.most = len(pool)
    return pool


def order(name, pool, seed=1, **typed):
    return list(select.load(name).choose(pool, select.read_options(name, typed), seed).order)


def test_every_selector_says_what_it_does_and_reads_its_settings():
    names = select.names()
    assert tags.CONTROL in names
    for name in names:
        selector = select.load(name)
        assert selector.about and "arXiv:" in selector.paper and isinstance(selector.needs_model, bool), name
    with pytest.raises(NotFound, match=r"Options: .*diversity"):
        select.load("diverse")
    assert select.read_options("loss-band", {"centre": "0.25"}).centre == 0.25
    for name, typed, says in (
        ("random", {"x": "1"}, "random has no setting 'x'. It has no settings."),
        ("loss-band", {"center": "1"}, "loss-band has no setting 'center'. Settings: centre."),
        ("loss-band", {"centre": "2"}, "centre"),
    ):
        with pytest.raises(BadInput) as caught:
            select.read_options(name, typed)
        assert says in str(caught.value)


def test_random_is_the_seed_s_alone_and_length_takes_the_longest_answers_and_the_first_of_two(tmp_path):
    pool = pool_of(tmp_path, [(f"q{n}", f"a{n}") for n in range(50)])
    assert order("random", pool, 1) == order("random", pool, 1) != order("random", pool, 2)
    assert sorted(order("random", pool, 1)) == list(range(50))
    assert order("length", pool_of(tmp_path)) == [3, 0, 1, 2, 4]
    alike = ("Could you mend my radio?", ROWS[3][1])
    rows = [
        *ROWS,
        ("Where are you?", "Under the bridge."),
        alike,
        ("What opens at ten?", "The shop opens at ten."),
    ]
    assert sorted(order("no-near-duplicates", pool_of(tmp_path, rows))) == [0, 2, 3, 4, 5, 7]


def test_diversity_takes_what_is_furthest_from_all_it_has(tmp_path):
    pool = pool_of(tmp_path)
    for seed in range(5):
        chosen = order("diversity", pool, seed)
        assert sorted(chosen) == [0, 1, 2, 3, 4]
        assert {0, 1}.intersection(chosen[-1:]), "the copy comes last"
    choice = select.load("diversity").choose(pool, select.read_options("diversity", {}), 1)
    by_hand = [choice.scores[place] for place in choice.order]
    assert by_hand[0] == 1.0 and by_hand[1:] == sorted(by_hand[1:], reverse=True)
    assert abs(by_hand[-1]) < 1e-6, "the copy is no further than rounding"


@pytest.fixture(scope="module")
def scorer(tiny_model, tmp_path_factory):
    base = ResolvedModel("tiny", tiny_model, None, None, "local folder", "abc")
    return Scorer(base, "float32", "cpu", Home(tmp_path_factory.mktemp("home")))


def by_hand(model, tokenizer, prompt, answer):
    """Return the mean loss of an answer's tokens, with transformers alone: after its prompt, and without it."""
    import torch

    before = f"<|user|>{prompt}<|end|>\n<|assistant|>"
    ids = tokenizer(before + f"{answer}<|end|>\n", add_special_tokens=False)["input_ids"]
    begins = len(tokenizer(before, add_special_tokens=False)["input_ids"])
    losses = []
    for tokens, start in ((ids, begins), ([tokenizer.eos_token_id, *ids[begins:]], 1)):
        labels = torch.tensor([[-100] * start + tokens[start:]])
        with torch.no_grad():
            losses.append(float(model(torch.tensor([tokens]), labels=labels).loss))
    return losses


def test_losses_are_the_model_s_and_are_kept(tmp_path, tiny_model, scorer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pool = replace(pool_of(tmp_path), scorer=scorer)
    pairs = list(zip(pool.losses(), pool.losses(with_prompt=False), strict=True))
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for (question, answer), pair in zip(ROWS, pairs, strict=True):
        assert pair == pytest.approx(by_hand(model, tokenizer, question, answer), abs=1e-4)
    again = replace(pool_of(tmp_path, ROWS[::-1]), scorer=replace(scorer, model=None))
    assert again.losses()[::-1] == [with_prompt for with_prompt, _ in pairs]
    assert again.scorer.model is None, "what is known is not scored again"


@pytest.mark.gpu
def test_losses_on_a_gpu_are_those_of_the_cpu(tmp_path, scorer):
    here = replace(pool_of(tmp_path), scorer=scorer).losses()
    there = replace(pool_of(tmp_path), scorer=replace(scorer, model=None, device="cuda:0")).losses()
    assert there == pytest.approx(here, abs=1e-3)


def test_the_band_is_around_the_middle_and_difficulty_ends_at_one(tmp_path, scorer):
    pool = replace(pool_of(tmp_path), scorer=scorer)
    losses, alone = pool.losses(), pool.losses(with_prompt=False)
    ranked = sorted(range(len(ROWS)), key=losses.__getitem__)
    assert order("loss-band", pool)[0] == ranked[2]
    assert set(order("loss-band", pool)[:3]) == set(ranked[1:4])
    assert order("loss-band", pool, centre="0") == ranked
    ratios = [one / other for one, other in zip(losses, alone, strict=True)]
    helped = [place for place, ratio in enumerate(ratios) if ratio < 1]
    assert order("difficulty", pool) == sorted(helped, key=lambda place: -ratios[place])
    pool._losses[True] = [math.e * one for one in alone]
    assert order("difficulty", pool) == []


def test_a_plain_text_is_scored_whole_and_has_no_instruction(tmp_path, scorer):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "The shop opens at nine."}\n{"text": "Where are you?"}\n')
    pool = replace(opened(file), scorer=scorer)
    assert len(order("loss-band", pool)) == 2 and all(loss > 0 for loss in pool.losses())
    why = "texts.jsonl:1: this selector needs rows of a prompt and one answer"
    with pytest.raises(BadInput, match=f"{why};"):
        order("difficulty", pool)
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    with pytest.raises(BadInput, match=f"{why}, or texts"):
        replace(opened(file), scorer=scorer).losses()


def test_rows_of_a_table_are_selected_into_json_lines_that_its_columns_still_fit(tmp_path):
    import msgspec

    from finetop.core.features.select.output import write
    from finetop.core.features.select.request import Wanted
    from finetop.core.features.select.selectors import Choice

    file = tmp_path / "rows.csv"
    file.write_text('q,a,n\nWhy?,"So, ""so"".",1\nWhen?,Now.,\nWho?,We.,3\n')
    columns = {"prompt": "q", "completion": "a"}
    pool = opened(file, **columns)
    assert [record.answer for record in pool.records("reading")] == ['So, "so".', "Now.", "We."]
    wanted = Wanted("random", 1, rows=2, to=str(tmp_path / "few.jsonl"))
    path, manifest, _ = write(pool, wanted, Choice([1, 0]), [1, 0], tmp_path, None)
    why, when = map(json.loads, path.read_text().splitlines())
    assert (why, when) == ({"q": "Why?", "a": 'So, "so".', "n": "1"}, {"q": "When?", "a": "Now."})
    assert msgspec.json.decode(manifest.read_bytes())["lines"] == [2, 3]
    assert len(opened(path, **columns)) == 2
