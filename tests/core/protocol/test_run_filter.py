"""The filter language: any text is parsed or refused with a message, and a written filter parses to the same."""

import math

import pytest
from hypothesis import given, strategies as st

from finetop.core.errors import BadInput
from finetop.core.protocol import run_filter
from finetop.core.protocol.run_filter import Filter, Sort, Term, format_filter, parse, require_known

PIECES = [
    "method", "loss", "train.seed", "age", "state", "sort", "group", ":", "=", "!=", "<", "<=", ">", '"', "-", "\\",
    " ", "2d", "1.2", "1e999", "lora", "ok", "\u3000", "\x1b[31m", "é", "\ud800",
]  # fmt: skip
VALUES = st.text(max_size=12).filter(lambda text: not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text))
METRICS = st.sampled_from(["loss", "eval_loss", "rewards/exact_match", "free@k"])
SETTINGS = st.sampled_from(["train.learning_rate", "method.rank", "protect.kl_to_base.weight"])
OPS = st.sampled_from([":", "=", "<", "<=", ">", ">="])
PARTS = st.sampled_from([":", "="])
REAL = st.floats(allow_nan=False, allow_infinity=False)


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


TERMS = st.one_of(
    st.builds(Term, st.just("word"), st.just(""), st.just(":"), VALUES, st.booleans()),
    st.builds(Term, st.just("text"), st.sampled_from(run_filter.TEXTS), PARTS, VALUES, st.booleans()),
    st.sampled_from([(key, word) for key, choices in run_filter.CHOICES.items() for word in choices]).flatmap(
        lambda pair: st.builds(Term, st.just("choice"), st.just(pair[0]), st.just("="), st.just(pair[1]), st.booleans())
    ),
    st.builds(Term, st.just("number"), st.sampled_from(run_filter.NUMBERS), OPS, REAL, st.booleans()),
    st.builds(
        Term, st.just("age"), st.just("age"), st.sampled_from(["<", "<=", ">", ">="]),
        st.floats(0, 1e300), st.booleans(),
    ),
    st.builds(Term, st.just("metric"), METRICS, OPS, REAL, st.booleans()),
    st.builds(Term, st.just("setting"), SETTINGS, OPS, REAL, st.booleans()),
    st.builds(
        Term, st.just("setting"), SETTINGS, PARTS, VALUES.filter(lambda text: not is_number(text)), st.booleans()
    ),
)  # fmt: skip
KEYS = st.one_of(st.sampled_from([key for key in run_filter.SORTS if key != "needs_you"]), METRICS, SETTINGS)
FILTERS = st.builds(
    Filter,
    st.lists(TERMS, max_size=6).map(tuple),
    st.none() | st.builds(Sort, KEYS, st.booleans()) | st.just(Sort()),
    st.just("") | st.sampled_from(run_filter.GROUPS) | SETTINGS,
)


@pytest.mark.slow
@given(st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        parsed = parse(text)
    except BadInput as error:
        assert error.message
    else:
        assert parse(format_filter(parsed)) == parsed


@given(FILTERS)
def test_what_is_written_reads_as_the_same(line):
    assert parse(format_filter(line)) == line


def test_the_line_of_the_readme():
    text = (
        'method:lora loss<1.2 -tag:ablation verdict:regressed age<2d "two words" sort:-drop group:train.seed'
    )
    line = parse(text)
    assert [(term.kind, term.key, term.op, term.value, term.negated) for term in line.terms] == [
        ("text", "method", ":", "lora", False),
        ("metric", "loss", "<", 1.2, False),
        ("text", "tag", ":", "ablation", True),
        ("choice", "verdict", "=", "regressed", False),
        ("age", "age", "<", 172800.0, False),
        ("word", "", ":", "two words", False),
    ]
    assert (line.sort, line.group) == (Sort("drop", True), "train.seed")
    assert (line.settings, line.metrics) == (("train.seed",), ("loss",))
    assert parse("loss!=1").terms[0].negated
    assert parse('note=""').terms[0].value == ""


def test_a_fault_names_the_term_what_is_wrong_and_what_to_write():
    for text, fault in (
        ("mehtod:lora", "mehtod:lora: no field 'mehtod', and a metric takes a number. Did you mean method?"),
        ("a state:runing", "state:runing: no state 'runing'. Did you mean running?"),
        ("verdict:bad", "bad: no verdict 'bad'. Use accepted, fixed, no_verdict, none, ok, regressed."),
        ("loss<low", "loss<low: 'low' is not a number. Try loss<1.2."),
        ("loss<", "loss<: < needs a value. Try loss<1.2."),
        ("<3", "<3: < needs a field before it. Try loss<1.2 or tag:draft."),
        ("-", '-: - needs a term. Try -failed, or "-" for the text.'),
        ('name:"a b', 'name:"a b: the quote is not closed. Add a " at its end.'),
        ("method<3", "method<3: method is text: use : or =. Try method:lora."),
        ("age:2d", "age:2d: age takes < or >. Try age<2d."),
        ("age<2x", "age<2x: '2x' is not a duration. Use 30m, 2h, 2d or 1w."),
        ("sort:-needs_you", "sort:-needs_you: this order has one direction. Write sort:needs_you."),
        ("sort:loss sort:name", "sort:name: sort: is given twice. Leave one out."),
        ("group:loss", "group:loss: can't group by loss; settings have a dot."),
        ("group:methd", "Did you mean method?"),
        ("-sort:loss", "-sort:loss: write sort:loss."),
        ("http://x", "no field 'http', and a metric takes a number. To find the text itself: \"http://x\"."),
        ("x" * 3000, "more than 2,000 characters"),
        ("a " * 60, "more than 50 terms"),
    ):
        with pytest.raises(BadInput) as raised:
            parse(text)
        assert fault in str(raised.value), text


def test_the_title_of_a_column_names_its_field():
    for typed, meant in (
        ("run:support", "name:support"),
        ("tags:x", "tag:x"),
        ("tok/s>100", "tokens_per_s>100"),
        ("curve<1", "loss<1"),
        ("left/age<2h", "time<2h"),
        ('verdict:"NO VERDICT"', "verdict:no_verdict"),
        ("verdict:REGR.", "verdict:regressed"),
        ("sort:-tok/s", "sort:-tokens_per_s"),
        ("group:tags", "group:tag"),
    ):
        assert parse(typed) == parse(meant), typed


def test_unknown_metrics_and_settings_are_named_with_the_nearest():
    known = (["loss", "eval_loss"], ["train.learning_rate", "train.seed"])
    require_known(parse("loss<1 train.seed:1 sort:eval_loss"), *known)
    for text, expected in {
        "lss<1": "lss<1: no run has a metric lss. Did you mean loss?",
        "sort:-evalloss": "sort:-evalloss: no run has a metric evalloss. Did you mean eval_loss?",
        "stpes>3": "Did you mean steps?",
        "zzz<1": "Metrics: eval_loss, loss.",
        "group:train.lerning_rate": "no run has a setting train.lerning_rate. Did you mean train.learning_rate?",
        "train.zzzzzzzzz:1": "Settings of train: train.learning_rate, train.seed.",
    }.items():
        with pytest.raises(BadInput) as raised:
            require_known(parse(text), *known)
        assert expected in str(raised.value)
