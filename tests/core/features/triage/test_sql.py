"""Triage in the store: its order, the states of regressions, what survives, and the lost items."""

import time

import msgspec
import pytest
import triage_store as made
from triage_store import add_run, take_in, told_of

from finetop.core.errors import BadInput, NotFound, Refused
from finetop.core.features.triage import flipped_items_sql as flipped_items, messages, sql as triage
from finetop.core.store import jobs, run_records, runs, triage_states
from finetop.core.store.database import transaction


def checked(connection, folder, name: str, **lost: int) -> tuple[int, int]:
    run, job = add_run(connection, name)
    take_in(connection, job, folder, *told_of({task: (n, 0) for task, n in lost.items()}, 1200))
    return run, job


def page(connection, text: str = "", offset: int = 0, limit: int = 9):
    return triage.page(connection, messages.Triage(text, offset, limit), 1)


def say(connection, run: str, state, task: str = "", **more: str):
    standing = messages.Standing(state, by="ana", **more)
    return triage.set_standing(connection, messages.SetStanding(run, task, standing))


def test_new_ones_come_first_and_the_worst_of_them_on_top(connection, tmp_path) -> None:
    checked(connection, tmp_path, "well", arith=0, arc=0)
    checked(connection, tmp_path, "bad", arith=4, arc=1)
    checked(connection, tmp_path, "worse", arith=9, arc=2)
    checked(connection, tmp_path, "worst", arith=12, arc=9)
    say(connection, "worst", "accepted", reason="known")
    say(connection, "bad", "looking")
    answer = page(connection)
    assert [row.name for row in answer.rows] == ["worse", "bad", "worst", "well"]
    assert (answer.new, answer.looking, answer.accepted, answer.fixed, answer.total) == (1, 1, 1, 0, 4)
    assert answer.tasks == ["arith", "arc"]
    cells = [(cell.drop, cell.mark) for cell in answer.rows[0].cells if cell is not None]
    assert cells == [(45.0, "lost"), (10.0, "open")]
    assert [row.name for row in page(connection, offset=1, limit=2).rows] == ["bad", "worst"]
    assert [row.name for row in page(connection, "wor accepted").rows] == ["worst"]
    assert page(connection, "wor").matching == 2


def test_an_accepted_regression_needs_nobody_until_it_is_new_again(connection, tmp_path) -> None:
    run, _ = checked(connection, tmp_path, "bad", arith=9)
    assert (runs.row(connection, run).needs_you, triage_states.to_triage(connection)) == (True, 1)
    say(connection, "bad", "looking")
    assert (runs.row(connection, run).needs_you, triage_states.to_triage(connection)) == (True, 0)
    answer = say(connection, "bad", "accepted", reason="only the voice counts")
    row = runs.row(connection, run)
    assert (row.needs_you, row.check.accepted) == (False, "ana")
    assert runs.detail(connection, run).checks[0].accepted == "ana"
    assert page(connection).rows[0].standings[""].drop == 45.0
    undone = triage.set_standing(connection, messages.SetStanding("bad", "", answer.before))
    assert (undone.before.state, undone.before.reason) == ("accepted", "only the voice counts")
    seen = page(connection).rows[0].standings[""]
    assert (seen.state, seen.by, seen.at) == ("looking", "ana", answer.before.at)
    say(connection, "bad", "new")
    assert page(connection).rows[0].standings == {}


def test_what_people_said_survives_another_check_and_stands_in_the_run_s_folder(connection, tmp_path) -> None:
    run, job = checked(connection, tmp_path, "bad", arith=9, arc=4)
    say(connection, "bad", "accepted", reason="known")
    say(connection, "bad", "looking", task="arc", note="ask Ben")
    take_in(connection, job, tmp_path, *told_of({"arith": (12, 0), "arc": (5, 0)}, 1200))
    (row,) = page(connection).rows
    assert row.drop == 42.5
    assert {task: seen.state for task, seen in row.standings.items()} == {"": "accepted", "arc": "looking"}
    assert not runs.row(connection, run).needs_you
    record = run_records.record_of(connection, run, run_records.schema_of(connection))
    kept = [(kept["task"], kept["state"], kept["note"]) for kept in record["store"]["tables"]["triage"]]
    assert kept == [("", "accepted", ""), ("arc", "looking", "ask Ben")]
    assert "points_lost" not in record["store"]["run"]


def test_what_can_not_be_said_is_refused_and_nothing_is_kept(connection, tmp_path) -> None:
    number, _ = checked(connection, tmp_path, "bad", arith=9, arc=0)
    checked(connection, tmp_path, "good", arith=0)
    checked(connection, tmp_path, "bad-too", arith=8)
    add_run(connection, "unchecked")
    for error, words, run, state, more in (
        (BadInput, "needs a reason", "bad", "accepted", {"reason": " "}),
        (BadInput, "the limit is 2,000", "bad", "accepted", {"reason": "x" * 2001}),
        (Refused, "good has not regressed", "good", "accepted", {"reason": "x"}),
        (Refused, "arc of bad has not regressed", "bad", "accepted", {"task": "arc", "reason": "x"}),
        (NotFound, "Did you mean arith", "bad", "accepted", {"task": "arit", "reason": "x"}),
        (NotFound, "finetop check unchecked", "unchecked", "looking", {}),
        # a fix is a run that did not regress
        (Refused, None, "bad", "fixed", {"fixed_by": "bad-too"}),
        (Refused, None, "bad", "fixed", {"fixed_by": "bad"}),
        (NotFound, None, "bad", "fixed", {"fixed_by": "none"}),
        (BadInput, None, "bad", "fixed", {"fixed_by": ""}),
    ):
        with pytest.raises(error, match=words):
            say(connection, run, state, **more)
    assert page(connection).rows[0].standings == {}
    say(connection, "bad", "fixed", fixed_by="2")
    row = runs.row(connection, number)
    assert (row.check.fixed_by, row.needs_you) == ("good", False)


def test_a_cell_says_since_which_step_and_which_items_first(connection, tmp_path) -> None:
    _, job = add_run(connection, "bad")
    for step, lost in ((300, 0), (600, 3), (1200, 6)):
        take_in(connection, job, tmp_path, *told_of({"arith": (lost, 1)}, step, watch=step < 1200))
    other, other_job = add_run(connection, "other", method="lora")
    take_in(connection, other_job, tmp_path, *told_of({"arith": (2, 0)}, 1200))
    _, far_job = add_run(connection, "far", model="another-base")
    take_in(connection, far_job, tmp_path, *told_of({"arith": (9, 0)}, 1200))
    cell = flipped_items.cell(connection, messages.LookAtCell("bad", "arith", 4))
    assert [(point.step, point.mark) for point in cell.curve] == [
        (None, "kept"), (300, "kept"), (600, "open"), (1200, "lost"),
    ]  # fmt: skip
    assert [(item.item, item.since, item.also) for item in cell.first] == [
        ("arith-000", 600, 1), ("arith-001", 600, 1), ("arith-002", 600, 0), ("arith-003", 1200, 0),
    ]  # fmt: skip
    assert (cell.facts.lost, cell.facts.won, cell.floor_flips) == (6, 1, 1)
    assert [(kind.kind, kind.lost) for kind in cell.kinds] == [("carry", 3), ("two digits", 3)]
    whole = flipped_items.item_detail(connection, messages.LookAtItem("bad", "arith", "arith-001"))
    assert whole.steps == [(None, False), (300, False), (600, True), (1200, True)]
    assert (whole.also, whole.methods) == (["other"], [("lora", 1, 1)])
    assert whole.choices == ["10", "Ahoy", "12"]
    assert whole.of_kind.lost == 3
    assert runs.row(connection, other).check is not None
    with pytest.raises(NotFound, match="did not change"):
        flipped_items.item_detail(connection, messages.LookAtItem("bad", "arith", "arith-012"))


def test_items_are_sifted_by_kind_way_margin_words_and_other_runs(connection, tmp_path) -> None:
    _, job = add_run(connection, "bad")
    take_in(connection, job, tmp_path, *told_of({"arith": (6, 1), "arc": (2, 0)}, 1200))
    _, other_job = add_run(connection, "other")
    take_in(connection, other_job, tmp_path, *told_of({"arith": (2, 0)}, 1200))

    def names(**asked: object) -> list[str]:
        return [
            item.item
            for item in flipped_items.list_lost(connection, messages.LostItems("bad", **asked)).items
        ]

    assert names(task="arc") == ["arc-000", "arc-001"]
    assert names(task="arith", only="won") == ["arith-019"]
    assert names(task="arith", kind="carry", only="lost") == ["arith-001", "arith-003", "arith-005"]
    assert names(runs=2) == ["arith-000", "arith-001"]
    assert names(text="4 + 12") == ["arith-004"]
    assert names(margin=1.5) == []
    assert len(names(margin=1.3)) == 9
    assert names(task="arith", offset=5, limit=1) == ["arith-005"]
    answer = flipped_items.list_lost(connection, messages.LostItems("bad", "arith", kind="carry", limit=1))
    assert (answer.matching, answer.lost, answer.won) == (4, 6, 1)


def test_a_run_turned_has_the_whole_first_and_finished_runs_without_a_check_are_named(
    connection, tmp_path
) -> None:
    checked(connection, tmp_path, "bad", arc=1, arith=9, piqa=0)
    answer = triage.run_detail(connection, messages.TriageRun("bad"))
    assert [task.task for task in answer.tasks] == ["", "arith", "arc", "piqa"]
    assert answer.columns == ["arith", "arc", "piqa"]
    assert answer.tasks[1].low < 45.0
    for name in ("kept", "lost-all"):
        add_run(connection, name)
    connection.execute("INSERT INTO checkpoints VALUES (2, 2, 1200, 'checkpoints/a', 1, 'adapter', 0)")
    table = page(connection)
    assert (table.unchecked, table.unchecked_total, table.newest) == (["kept"], 1, "bad")


def test_a_table_of_a_thousand_runs_opens_at_once(connection, tmp_path) -> None:
    """A few are made and copied: only reading is measured."""
    made.add_many(connection, tmp_path, 12)
    copied = ", ".join(
        "id + 100 * n" if column == "id" else "name || '-' || n" if column == "name" else f'"{column}"'
        for column in run_records.schema_of(connection)["runs"]
    )
    connection.execute(f"INSERT INTO runs SELECT {copied} FROM runs, range(1, 90) t(n)")
    began = time.process_time()
    answer = page(connection, limit=100)
    took = time.process_time() - began
    assert (answer.total, len(answer.rows), len(answer.tasks)) == (1080, 100, 12)
    assert took < 5  # 0.1 here; a query a run takes a minute


@pytest.mark.slow
def test_the_changes_of_a_check_of_50_000_items_fit_into_the_store_s_memory(connection) -> None:
    connection.execute(
        "INSERT INTO item_scores SELECT 1, 1, model, repeat('k', 64), 'task' || i % 7, 'item' || i,"
        " (i + length(model)) % 2, repeat('a', 400), -1.0, -1.0, -1.0, NULL"
        " FROM range(50000) rows(i), (VALUES ('base'), ('tuned')) models(model)"
    )
    assert len(connection.execute(flipped_items._CHANGED, [1, None, ""]).fetchall()) == 50_000


def test_what_was_accepted_of_other_weights_is_new_again(connection, tmp_path) -> None:
    def verdict_of(weights: str):
        events = told_of({"arith": (9, 0)}, 1200)
        last = events[-1]
        models = {"tuned": {"weights": weights}}
        return (*events[:-1], msgspec.structs.replace(last, result={**last.result, "models": models}))

    run, job = add_run(connection, "linked")
    take_in(connection, job, tmp_path, *verdict_of("one"))
    say(connection, "linked", "accepted", reason="known")
    for weights, state in (("one", "accepted"), ("two", "new")):
        with transaction(connection):
            again, _ = jobs.add_job(connection, run_id=run, verb="check", args={}, priority=0)
            jobs.begin_attempt(connection, again)
        take_in(connection, again, tmp_path, *verdict_of(weights))
        assert triage_states.of_run(connection, run)[""].state == state
    assert (
        "accepted by ana for weights that have changed since; known"
        in triage_states.of_run(connection, run)[""].note
    )
    assert runs.row(connection, run).check.accepted == ""
