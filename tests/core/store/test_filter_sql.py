"""Filters in the store: SQL and plain Python give the same runs in the same order, whatever the runs hold."""

import pytest
import store_rows
from hypothesis import given, settings as hypothesis, strategies as st
from store_rows import add_run, empty_database

from finetop.core.errors import BadInput
from finetop.core.protocol import runs as data
from finetop.core.protocol.filter_match import group_place, holds, place
from finetop.core.protocol.run_filter import Filter, Sort, Term, format_filter
from finetop.core.store import jobs, recipe_settings, run_list, runs
from finetop.core.store.database import json_text, open_store, transaction
from finetop.core.wording.run_groups import group_heading

NOW = 1_000_000.0
WORDS = ["", "lora", "LoRA-plus", "a b", "İx", "ΣΑΣ", 'say "hi"', "none", "\\", "full", "quick", "%", "_"]
NUMBERS = [0.0, 1.0, 1.5, -2.25, 0.0001, 1e-05, 1e12]
METRICS = ["loss", "eval_loss", "rewards/x"]
SETTINGS = ["train.learning_rate", "method.rank", "protect.kl.on"]

word, number = st.sampled_from(WORDS), st.sampled_from(NUMBERS)
value = st.none() | number | word | st.booleans() | st.lists(number | word, max_size=2)
STATES = st.sampled_from(
    [
        data.Running(5.0), data.Running(5.0, "training", left_s=55.0), data.Finished(1.0, NOW - 50),
        data.Finished(1.0, NOW - 4000.0), data.Stopped(NOW - 9.0, "stop"),
        data.Failed(NOW - 7.0, "out of memory"), data.Lost(NOW - 8.0, "x"),
    ]
)  # fmt: skip
RUNS = st.fixed_dictionaries(
    {
        "name": word, "model": word, "method": word, "objective": word, "note": word, "state": STATES,
        "tags": st.lists(word, max_size=2), "last": st.dictionaries(st.sampled_from(METRICS), st.none() | number),
        "rate": value, "rank": value, "on": value, "created": st.sampled_from([1.0, NOW - 60.0]),
        "step": st.integers(0, 3), "alarm": st.none() | word,
        "check": st.none() | st.tuples(
            st.sampled_from(["ok", "regressed", "no_verdict"]), st.none() | number, st.sampled_from(["", "ana"]), word
        ),
    }
)  # fmt: skip
SEEN = st.sampled_from(
    ["REG", "regr.", "ok", "no verdict", "not checked", "Failed", "memory", "training", "ana"]
)
OPS, PARTS = st.sampled_from([":", "=", "<", "<=", ">", ">="]), st.sampled_from([":", "="])
real = number.map(float)
text = word.filter(bool)
TERMS = st.one_of(
    st.builds(Term, st.just("word"), st.just(""), st.just(":"), word, st.booleans()),
    st.builds(
        Term, st.just("text"),
        st.sampled_from(["name", "model", "tag", "note", "alarm", "suite", "how", "forgot", "host"]), PARTS, word,
        st.booleans(),
    ),
    st.builds(Term, st.just("word"), st.just(""), st.just(":"), SEEN, st.booleans()),
    st.builds(Term, st.just("text"), st.just("forgot"), PARTS, SEEN, st.booleans()),
    st.builds(Term, st.just("choice"), st.just("state"), st.just("="), st.sampled_from(["finished", "lost"])),
    st.builds(
        Term, st.just("choice"), st.just("verdict"), st.just("="),
        st.sampled_from(["ok", "regressed", "accepted", "no_verdict", "none"]), st.booleans(),
    ),
    st.builds(Term, st.just("number"), st.sampled_from(["step", "steps", "drop", "id"]), OPS, real, st.booleans()),
    st.builds(
        Term, st.just("age"), st.sampled_from(["age", "left", "time"]), st.sampled_from(["<", ">="]),
        st.sampled_from([50.0, 60.0, 3600.0]),
        st.booleans(),
    ),
    st.builds(Term, st.just("metric"), st.sampled_from(METRICS), OPS, real, st.booleans()),
    st.builds(Term, st.just("setting"), st.sampled_from(SETTINGS), OPS, real, st.booleans()),
    st.builds(Term, st.just("setting"), st.sampled_from(SETTINGS), PARTS, text, st.booleans()),
)  # fmt: skip
ORDERS = st.builds(
    Sort, st.sampled_from(["name", "age", "drop", "step", "loss", "rewards/x", *SETTINGS]), st.booleans()
)
GROUPS = st.sampled_from(["", "method", "tag", "state", "verdict", "suite", *SETTINGS])


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    file = tmp_path_factory.mktemp("store") / "finetop.duckdb"
    file.write_bytes(empty_database())
    store = open_store(file)
    yield store
    store.close()


def fill(connection, found):
    for table in ("runs", "jobs", "settings", "alarms", "unrecorded"):
        connection.execute(f"DELETE FROM {table}")
    for run_id, run_row in enumerate(found, start=1):
        recipe = {
            "model": {"id": run_row["model"]},
            "method": {"name": run_row["method"], "rank": run_row["rank"]},
            "objective": {"name": run_row["objective"]},
            "train": {"learning_rate": run_row["rate"]},
            "protect": {"kl": {"on": run_row["on"]}},
        }
        runs.add_run(connection, run_id=run_id, name=run_row["name"], folder="f", recipe=recipe, source="")
        check = run_row["check"] and data.CheckBrief(
            1, run_row["check"][0], "", None, run_row["check"][1], 3.0, False, 1, 2, run_row["check"][3], 0.0, [], {},
            accepted=run_row["check"][2],
        )  # fmt: skip
        connection.execute(
            "UPDATE runs SET created = ?, step = ?, tags = ?, note = ?, last = ?, brief = ? WHERE id = ?",
            [run_row["created"], run_row["step"], json_text(run_row["tags"]), run_row["note"],
             json_text(run_row["last"]), json_text(check) if check else None, run_id],
        )  # fmt: skip
        if run_row["alarm"] is not None:
            connection.execute(
                "INSERT INTO alarms VALUES (?, 'spike', 1, ?, 1.0, NULL)", [run_id, run_row["alarm"]]
            )
        runs.set_state(connection, run_id, run_row["state"])


@hypothesis(max_examples=25, deadline=None)
@given(st.lists(RUNS, max_size=6), st.lists(TERMS, max_size=3), ORDERS, GROUPS)
def test_sql_finds_what_python_finds(connection, found, terms, sort, group):
    with transaction(connection):
        fill(connection, found)
    every = asked(connection, "", wanted=SETTINGS).rows
    for row, entry in zip(reversed(every), found, strict=True):  # settings as the recipe has them
        rank = recipe_settings.flat({"method": {"rank": entry["rank"]}})
        assert row.settings.get("method.rank") == rank.get("method.rank")
    line = Filter(tuple(terms), sort, group)
    try:
        page = asked(connection, format_filter(line), sort="needs_you")
    except BadInput as error:  # noqa: RUF100
        assert "no run has a" in str(error)
        return
    expected = [row for row in every if holds(line, row, NOW)]
    assert {row.id for row in page.rows} == {row.id for row in expected}
    assert page.matching == len(expected)
    places = [place(row, sort, group, row.name)[:-1] for row in page.rows]
    assert places == sorted(places)
    if group:
        words = [row.group for row in page.rows]
        assert [entry.word for entry in page.groups] == list(dict.fromkeys(words)), "not together"
        assert [entry.runs for entry in page.groups] == [words.count(entry.word) for entry in page.groups]
        group_places = [group_place(row, group) for row in page.rows]
        assert group_places == sorted(group_places)
    if found and not expected:
        assert dict(page.without) == {
            term: sum(holds(Filter(tuple(t for t in terms if t is not left)), row, NOW) for row in every)
            for left, term in zip(terms, [typed for typed, _ in page.without], strict=True)
        }


def add(connection, name, **more):
    return add_run(connection, name, method={"name": "lora", "rank": 8}, **more)


def asked(connection, filter, **more):
    more = {"sort": "newest", "offset": 0, "limit": 50, "revision": 0, "now": NOW, **more}
    return run_list.page(connection, filter=filter, **more)


def test_a_group_is_drawn_without_its_control_sequences(connection):
    fill(connection, [])
    add(connection, "a", train={"optimizer": "a\x1b[31mb\nc"})
    (group,) = asked(connection, "group:train.optimizer").groups
    assert group_heading("train.optimizer", group) == "train.optimizer ab c: 1 run"


def test_groups_have_a_count_and_the_mean_and_spread_of_what_is_sorted_by(connection):
    fill(connection, [])
    for seed, loss in ((1, 1.0), (1, 3.0), (2, 5.0)):
        run_id = add(connection, f"s{seed}", train={"seed": seed})
        connection.execute("UPDATE runs SET last = ? WHERE id = ?", [f'{{"loss":{loss},"kl":7}}', run_id])
    page = asked(connection, "group:train.seed")
    assert [(group.word, group.runs, group.key, group.mean) for group in page.groups] == [
        ("1", 2, "loss", 2.0), ("2", 1, "loss", 5.0),
    ]  # fmt: skip
    assert page.groups[0].spread == pytest.approx(2**0.5)
    assert page.groups[1].spread is None
    assert asked(connection, "group:train.seed sort:kl").groups[0].mean == 7.0
    connection.execute("UPDATE runs SET last = '{\"loss\":1e300}' WHERE id = 1")
    (group,) = asked(connection, "group:method").groups
    assert (group.runs, group.measured, group.mean) == (3, 2, 4.0)


def test_a_run_that_is_being_checked_is_listed_among_what_runs(connection):
    fill(connection, [])
    done, runs_now = data.Finished(1.0, 2.0), data.Running(3.0, "scoring")
    checked, _ = store_rows.add(connection, "checked", state=done)
    store_rows.add(connection, "done", state=done)
    store_rows.add(connection, "trains", state=runs_now)
    store_rows.add(connection, "queued")
    _, check = store_rows.add(connection, verb="check", run_id=checked, state=runs_now)
    rows = asked(connection, "", sort="needs_you").rows
    assert [row.name for row in rows] == ["trains", "checked", "queued", "done"]
    assert sorted(rows, key=lambda row: place(row, Sort(), "", row.name)) == rows
    with transaction(connection):
        jobs.set_state(connection, check, done)
    assert [row.name for row in asked(connection, "", sort="needs_you").rows][-2:] == ["done", "checked"]


def test_which_term_hides_all(connection):
    fill(connection, [])
    add(connection, "a")
    add(connection, "b")
    sorted_rows = asked(connection, "sort:loss").rows  # before any has told its loss
    assert [row.name for row in sorted_rows] == ["b", "a"]
    page = asked(connection, "method:lora name:zzz -name:a")
    assert (page.matching, page.total) == (0, 2)
    assert page.without == [("method:lora", 0), ("name:zzz", 1), ("-name:a", 0)]


def test_a_run_of_a_changed_recipe_is_found_by_its_settings(connection):
    fill(connection, [])
    run_id = add(connection, "a")
    recipe = {"model": {"id": "m"}, "method": {"name": "lora", "rank": 64}}
    runs.set_recipe(connection, run_id, recipe, "m")
    assert [row.settings for row in asked(connection, "method.rank:64").rows] == [{"method.rank": 64.0}]


def test_arguments_of_another_programs_command_are_settings():
    command = {"run": ["python", "t.py", "--learning-rate", "{lr}", "--model=small"], "values": {"lr": 2e-5}}
    flat = recipe_settings.flat({"command": command})
    assert (flat["args.learning_rate"], flat["args.model"]) == (2e-5, "small")
    assert not any(key.startswith("args.") for key in flat if key not in ("args.learning_rate", "args.model"))


def test_the_configuration_of_another_program_is_a_setting_beside_those_of_its_recipe(connection):
    fill(connection, [])
    run_id = add(connection, "a")
    for rate in (1e-4, 2e-4):
        recipe_settings.store_configuration(connection, run_id, {"lr": rate, "optim": "adam"})
    runs.set_recipe(connection, run_id, {"model": {"id": "m"}, "method": {"name": "lora", "rank": 64}}, "m")
    (row,) = asked(connection, "config.lr>1.5e-4 config.optim:adam method.rank:64").rows
    assert row.settings == {"config.lr": 2e-4, "config.optim": "adam", "method.rank": 64.0}
    assert asked(connection, "config.lr<1.5e-4").matching == 0
