"""A report is one whole page, and no text of a run becomes markup in it, whatever it contains."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import msgspec
import pytest
from exported_files import LOST, exported
from markdown_it import MarkdownIt

from finetop.core.features.push.card_verdict import rules_of
from finetop.core.features.push.model_card import Pushed, card_of, charts_of, metadata, refusal, settings_of
from finetop.core.features.report import formats
from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import Bars, Chart
from finetop.core.features.report.run_page import page_of
from finetop.core.features.report.svg import bars, chart, standalone, ticks
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import Flip, read
from finetop.core.protocol.data_diff import SourceRow
from finetop.core.protocol.messages.runs import Curve
from finetop.core.recipe.load import load_recipe

HARMLESS = "word"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></pre></details></table></svg><h1>owned</h1>",
    "<!-- -->]]><![CDATA[ &amp; &#60;script&#62;",
    "| cell | cell |\n|---|---|\n| x | y |",
    "x\n\n# owned\n\n- [link](javascript:alert(1)) ![p](http://h/p.png) <http://h> www.h.org http://h",
    "`a` ``` ```` \n````\n# owned\n```` ~~~ **b** __i__ $x$ @all #1 &copy; \\| \\",
    "</details>\n\n<details open>\n\n    code",
    "\x1b]0;owned\x07\x1b[2J\x9b2J\x9d0;x\x9c\x1bP+q\x1b\\\r\x00\bend",
    "\u202egpj.exe\u2066x\u2069\ufffe\uffff\ud800",
]
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def told(text: str, *, checked: bool = True) -> RunFacts:
    """Return the facts of a run with this string as every outside text."""
    result = {
        "verdict": "regressed", "reason": text, "claims": [text], "margin": 0.03, "items_used": 40, "items_total": 96,
        "base": 0.9, "tuned": 0.6, "drop": 0.3, "interval": [0.0, 0.6], "suite_interval": [0.1, 0.5],
        "proven_drop": True, "lost": 9, "won": 1,
        "decided_by": "betting", "suite": text, "step": 60, "notes": [text],
        "tasks": [
            {"task": text, "mark": mark, "n": 20, "total": 48, "base": 0.9, "tuned": 0.5, "drop": 0.4,
             "interval": [0.1, 0.7], "lost": 8, "won": 0, "lost_corrected": 8.0, "won_corrected": 0.0,
             "mcnemar_p": 0.01, "e_value": 30.0, "reason": text}
            for mark in ("lost", "open")
        ],
        "target": {text: {"base": 0.1, "tuned": 0.9, "low": 0.5, "high": 0.9, "rows": 60}},
        "flips": [
            {"task": text, "item": text, "category": text, "question": text, "gold": text, "base": 1.0, "tuned": 0.0,
             "base_answer": text, "tuned_answer": text}
        ],
        "categories": [{"task": text, "category": text, "n": 9, "lost": 3, "won": 1}],
        "models": {text: {"weights": text}}, "plan_hash": text,
    }  # fmt: skip
    check = data.CheckBrief(
        1, "regressed", text, 60, 30.0, 3.0, False, 40, 96, text, 5.0, [], {}, accepted=text
    )
    row = data.RunRow(
        3, text, text, text, text, data.Failed(9.0, text, text, 5.0), 1.0, 60, 60, {"loss": 1.0, text: 2.0},
        check if checked else None, None, True, tags=[text], note=text,
    )  # fmt: skip
    recipe = {**load_recipe("lora").resolved, "extends": "lora", text: {text: [text]}}
    detail = data.RunDetail(
        row, text, recipe, text, [],
        [data.CheckpointRow(60, text, 10**7, text, 5.0)],
        [data.SampleRow(0, 0, text, text), data.SampleRow(60, 0, text, text)],
        [data.DataRow(text, 9, 8, 1, 0, 40, 300)],
        [(text, False), (text, True)],
        [data.AlarmRow(text, 9, text, 5.0)],
        [check] if checked else [],
        text, {text: text}, {"parameters": 1e8, "trainable_parameters": 1e6},
        data.Best(60, text), [data.Relative(1, text, text, 9)], [data.Relative(4, text, text, None)], 3,
        exports=[
            exported(text, msgspec.structs.replace(LOST, reason=text), name=text),
            exported(text, None, unasked=text),
        ],
    )  # fmt: skip
    flip = Flip(text, text, "", "", "", 1.0, 0.0, text, text, base_log_prob=-0.1, tuned_log_prob=-4.0)
    curves = {
        key: Curve(key, [0, 100, 239], [1.0, float("nan"), 0.5], [3.0, 2.0, 0.7], [2.0, 1.5, 0.6], 60, 0.6, 1)
        for key in ("loss", "drift", text)
    }  # fmt: skip
    base = load_recipe("lora").resolved
    return RunFacts(detail, read(result) if checked else None, (flip,), curves, 60, "lora", base)


class Shape(HTMLParser):
    """Return the tags of a page, with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"<{tag} {' '.join(name for name, _ in attrs)}>")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        self.tags.append("<!-- -->")


@cache
def shape_of(text: str) -> list[str]:
    shape = Shape()
    shape.feed(text)
    shape.close()
    return shape.tags


@cache
def written(form: str, text: str, *, checked: bool = True) -> str:
    return formats.load(form).written(page_of(told(text, checked=checked), 1_790_000_000.0, "1.0"))


@cache
def tokens_of(text: str) -> list[str]:
    """Return the Markdown tokens of a text; the texts themselves are left out, HTML tags are not."""
    token_types = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        token_types.append(token.type)
        token_types += shape_of(token.content) if token.type == "html_block" else []
        kinds = [child.type for child in token.children or ()]
        token_types += [kind for kind in kinds if kind not in ("text", "text_special", "softbreak")]
    return token_types


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_of_the_page(text):
    assert shape_of(written("html", text)) == shape_of(written("html", HARMLESS))
    assert tokens_of(written("markdown", text)) == tokens_of(written("markdown", HARMLESS))
    for form in formats.names():
        assert not _OBEYED.search(written(form, text))
    assert tokens_of(card(text)) == tokens_of(card(HARMLESS))
    assert not _OBEYED.search(card(text))


@cache
def card(text):
    """Return the body of a model card whose run has this string as every outside text, and a row of data."""
    facts = told(text)
    source = SourceRow(text, f"/nowhere/{HARMLESS}.jsonl", text, "train", 60, "5e" * 32)
    recipe = load_recipe("lora").resolved
    target = {"path": "t.jsonl", "rules": [{"rule": "contains", "value": text}]}
    recipe = {**recipe, "check": {**recipe["check"], "target": target}}
    detail = msgspec.structs.replace(facts.detail, recipe=recipe, sources=[source])
    return card_of(replace(facts, detail=detail), Pushed("org/name", 60, "adapter"), "1.0", prompt=text).body


@pytest.mark.parametrize(
    ("kind", "relation"), [("adapter", "adapter"), ("merged", "finetune"), ("gguf", "finetune")]
)
def test_a_card_relates_files_of_a_tuned_model_to_its_base(kind, relation):
    facts = told(HARMLESS)
    recipe = {**load_recipe("lora").resolved, "model": {"id": "org/base"}}
    facts = replace(facts, detail=msgspec.structs.replace(facts.detail, recipe=recipe))
    assert metadata(facts, Pushed("org/name", 60, kind))["base_model_relation"] == relation


def test_a_card_shows_the_settings_that_are_not_the_default_and_the_rules():
    recipe = load_recipe("lora", ["data.max_tokens=333", "train.epochs=3", "model.dtype=float32"]).resolved
    settings = settings_of(recipe)
    assert (settings["data.max_tokens"], settings["model.dtype"], settings["train.epochs"]) == (
        "333",
        "float32",
        "3.0",
    )
    assert not [key for key in settings if key.startswith(("data.train", "name", "budget", "model.id"))]
    assert "data.on_long" not in settings, "the default"
    target = {"rules": [{"rule": "max_words", "value": 20}, {"rule": "one_word", "value": None}]}
    assert rules_of({"check": {"target": target}}) == ["max_words 20", "one_word"]
    of_machine = [
        "train.resumable=false",
        "train.keep_checkpoints=9",
        "samples.count=7",
        "alarms.nan.on=false",
        "train.activation_checkpointing=true",
    ]
    assert settings_of(load_recipe("lora", of_machine).resolved) == settings_of(load_recipe("lora").resolved)


def test_a_card_does_not_pass_on_the_verdict_of_other_weights():
    facts = told(HARMLESS)
    outcome = msgspec.structs.replace(facts.outcome, verdict="ok") if facts.outcome else None
    check = msgspec.structs.replace(facts.detail.checks[0], step=60)
    told_of = {}
    for now in ("same", "changed", "unread"):
        checks = [msgspec.structs.replace(check, weights_now=now)]
        detail = msgspec.structs.replace(facts.detail, checks=checks, recipe=load_recipe("lora").resolved)
        own = replace(facts, detail=detail, outcome=outcome)
        error = refusal(own, Pushed("org/name", 60, "adapter"))
        body = card_of(own, Pushed("org/name", 60, "adapter"), "1.0").body
        bold = re.findall(r"^\*\*([A-Z ]+)", body, re.MULTILINE)
        told_of[now] = (error is not None and "changed since they were checked" in str(error), bold)
    others = (True, ["NOT CHECKED"])
    assert told_of == {"same": (False, ["OK"]), "changed": others, "unread": others}


def test_a_card_says_its_numbers_in_sentences_and_each_once():
    powers = [{"drop": drop, "chance": 0.94} for drop in (0.0, 0.05, 0.06, 0.1)]
    drift = {"base": 3.5, "tuned": 3.526, "kl": 0.03}
    facts = told(HARMLESS)
    result = {
        **msgspec.to_builtins(facts.outcome),
        "verdict": "ok",
        "mcnemar_p": 0.01,
        "power": powers,
        "drift": drift,
    }
    facts = replace(facts, outcome=read(result))
    body = card_of(of_lora(facts), Pushed("org/name", 60, "adapter"), "1.0", prompt="Can you mend it?").body
    for word in ("McNemar", "Power", "for guessing", "noise floor", "e-value", "KL"):
        assert word not in body
    assert body.count("would have been noticed 94 times of 100") == 1
    assert body.count("general text") == 1 and "3.500 nats/token before, 3.526 after" in body
    assert [chart.title for chart in charts_of(facts)] == ["Loss"], "drift is told once"
    assert "? too few items to tell" in body and "✓" not in body, "only the marks of its table are explained"
    assert (
        "`lora`: low-rank adapters\n" in body and "`sft`: learn the answers of example conversations" in body
    )
    assert "```text\nCan you mend it?\n```" in body


def of_lora(facts):
    row = msgspec.structs.replace(facts.detail.row, method="lora", objective="sft")
    detail = msgspec.structs.replace(facts.detail, row=row, recipe=load_recipe("lora").resolved)
    return replace(facts, detail=detail)


def test_a_card_of_a_remedy_has_the_remedys_own_verdict():
    facts, about = (
        of_lora(told(HARMLESS)),
        {"name": "prune", "remedy": "prune", "label": "pruned", "step": 60},
    )
    for facts_of_row, verdict in (
        ({}, "**NOT CHECKED**"),
        (
            {"verdict": "ok", "drop": -0.4, "items_used": 64, "items_total": 336},
            "**OK** +0.4 points against the base",
        ),
        (
            {"verdict": "ok", "confirmation": "regressed", "drop": 0.0, "fresh_drop": 9.0},
            "**REGRESSED** -9.0 points",
        ),
    ):
        remedy = data.RemedyRow(**about, **facts_of_row)
        assert verdict in card_of(facts, Pushed("org/name", 60, "merged", remedy=remedy), "1.0").body


def test_nothing_is_loaded_from_outside_and_no_script_is_there():
    page = written("html", HARMLESS)
    assert "default-src 'none'" in page
    for tag in shape_of(page):
        assert not re.search(r"<(script|link|img|iframe|object|a|form|base)\b| (src|href|on\w+)\b", tag)
    assert "url(" not in page and "@import" not in page


@pytest.mark.parametrize("form", formats.names())
def test_it_tells_all(form):
    page = written(form, HARMLESS)
    for phrase in (
        "REGRESSED", "30.0 points lost", "limit 3.0", "tuned by word", "9", "built-in lora", "All settings",
        "Answers that changed", "lost", "-0.1 -", "step 60", "Checkpoints", "10.0 MB", "Checks", "Alarms", "2 earlier",
        "Not measured", "56 of the suite", "sha256", "started from", "-40.0", "-70.0 to -10.0", "by finetop 1.0",
    ):  # fmt: skip
        assert phrase in page.replace("&#x27;", "'"), phrase


@pytest.mark.parametrize("form", formats.names())
def test_a_run_that_nobody_checked_is_not_called_fine(form):
    page = written(form, HARMLESS, checked=False)
    assert "NOT CHECKED" in page and "there is no check of this run" in page
    assert "## Tasks" not in page and "<h2>Tasks" not in page


def test_pictures_are_whole_files_too():
    page = page_of(told(HOSTILE[-1]), 0.0, "1.0")
    blocks = [block for section in page.sections for block in section.blocks]
    charts = [block for block in blocks if isinstance(block, Chart)]
    rows = [bars(block) for block in blocks if isinstance(block, Bars)]
    assert len(charts) == 2 and len(rows) == 1
    root = ET.fromstring(standalone(charts))
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and len(root.findall("{*}svg")) == 2
    for svg in (*map(chart, charts), *rows):
        ET.fromstring(svg)
        for number in re.findall(r' [xy][12]?="([^"]*)"', svg):
            assert -20 <= float(number) <= 800


def test_ticks_are_round_and_within():
    assert ticks(0.0, 1200.0, 6) == [0, 200, 400, 600, 800, 1000, 1200]
    assert ticks(0.13, 0.87, 4) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert ticks(-46.0, 8.0, 6) == [-40, -30, -20, -10, 0]
    assert ticks(1.0, 1.0) == [1.0]
    assert ticks(float("nan"), 1.0) != []
