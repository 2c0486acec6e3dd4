"""Checks in the store: several of one job, ingested twice, and the one that represents a run."""

from typing import Any

from store_rows import add, take_in, write

from finetop.core.protocol import events
from finetop.core.store import checks, jobs, runs


def verdict(step: int, word: str = "ok", **more: Any) -> events.Verdict:
    plain = {"verdict": word, "reason": "", "margin": 0.03, "items_used": 9, "items_total": 9, **more}
    return events.Verdict(step, plain)


def scores(model: str, step: int | None, **items: float) -> events.Scores:
    item_scores = [events.ItemScore(item, score) for item, score in items.items()]
    return events.Scores(model, "key", "t", item_scores, step)


def known_by(connection, run: int) -> tuple[int | None, str]:
    check = runs.row(connection, run).check
    assert check is not None
    return check.step, check.verdict


def test_two_checks_of_one_job_keep_their_own_flips(connection, tmp_path) -> None:
    run, job = add(connection)
    first_check = (scores("tuned", 10, a=0.0, b=1.0, c=0.0), verdict(10))
    second_check = (scores("tuned", 20, a=1.0, b=0.0, c=1.0), verdict(20, "regressed"))
    base = scores("base", None, a=1.0, b=1.0, c=0.0)
    take_in(connection, job, tmp_path / "e", base, *first_check, *second_check)
    first, second = sorted(check["check_id"] for check in checks.results(connection, run))
    assert [flip.item for flip in checks.flips(connection, run, first, "").flips] == ["a"]
    newest = checks.flips(connection, run, None, "")
    assert [(flip.item, flip.won) for flip in newest.flips] == [("b", False), ("c", True)]
    assert newest.check_id == second


def test_a_second_attempt_replaces_what_the_first_said(connection, tmp_path) -> None:
    run, job = add(connection)
    told = (scores("base", None, a=1.0), scores("tuned", 10, a=0.0), verdict(10, "regressed"), verdict(20))
    take_in(connection, job, tmp_path / "e", *told)
    again = (scores("base", None, a=1.0), scores("tuned", 10, a=1.0), verdict(10), verdict(20), verdict(30))
    take_in(connection, job, tmp_path / "e", *again)
    found = {check["step"]: check["verdict"] for check in checks.results(connection, run)}
    assert found == {10: "ok", 20: "ok", 30: "ok"}
    assert connection.execute("SELECT count(*) FROM checks").fetchone() == (3,)
    first = next(check["check_id"] for check in checks.results(connection, run) if check["step"] == 10)
    assert checks.flips(connection, run, first, "").flips == []
    # the same events in two files' worth of bytes make one check
    run, job = add(connection)
    path = write(tmp_path / "twice", verdict(10), verdict(20))
    path.write_bytes(path.read_bytes() * 2)
    take_in(connection, job, path)
    assert [check["step"] for check in checks.results(connection, run)] == [20, 10]


def test_a_run_is_known_by_its_newest_claim_and_by_its_best_checkpoint(connection, tmp_path) -> None:
    run, job = add(connection)
    take_in(connection, job, tmp_path / "e", verdict(10, watch=True))
    assert known_by(connection, run) == (10, "ok")
    take_in(connection, job, tmp_path / "e", verdict(20, claim=1), verdict(30, "regressed", claim=2))
    assert known_by(connection, run) == (30, "regressed")
    take_in(connection, job, tmp_path / "e", verdict(5, watch=True))
    assert known_by(connection, run) == (30, "regressed")
    for step in (20, 30):
        take_in(
            connection, job, tmp_path / "e", events.Checkpoint(step, f"checkpoints/step-{step}", 1, "full")
        )
    assert checks.newest_checkpoint(connection, run, None) == (30, "checkpoints/step-30")
    take_in(connection, job, tmp_path / "e", events.Best(20, "the last that is OK"))
    assert known_by(connection, run) == (20, "ok")
    assert checks.newest_checkpoint(connection, run, None) == (20, "checkpoints/step-20")
    assert checks.newest_checkpoint(connection, run, 30) == (30, "checkpoints/step-30")
    best = runs.detail(connection, run).best
    assert best is not None and (best.step, best.text) == (20, "the last that is OK")
    assert not runs.row(connection, run).needs_you


def test_a_new_attempt_forgets_the_best_of_the_one_before(connection, tmp_path) -> None:
    run, job = add(connection)
    started = events.Started(1, 1, 1, "cpu", "float32", {})
    take_in(
        connection, job, tmp_path / "e", started, verdict(10), events.Best(10, "x"), verdict(20, "regressed")
    )
    assert known_by(connection, run) == (10, "ok")
    check = jobs.add_job(connection, run_id=run, verb="check", args={}, priority=0)[0]
    take_in(connection, check, tmp_path / "check", started)
    assert runs.detail(connection, run).best is not None, "a check is no attempt at training"
    take_in(connection, job, tmp_path / "e", events.Best(10, "y"), started)
    assert runs.detail(connection, run).best is None
    assert known_by(connection, run) == (20, "regressed")


def test_a_best_checkpoints_numbers_are_those_of_its_run(connection, tmp_path) -> None:
    """Lists, sweeps and comparisons read a run's last numbers: those of its best checkpoint, if it keeps one."""
    run, job = add(connection)
    losses = {10: 1.5, 20: 1.2, 30: 1.4}.items()
    event_rows = [events.metrics(step, {"eval_loss": loss}) for step, loss in losses]
    take_in(connection, job, tmp_path / "e", *event_rows, events.Best(20, "the lowest", {"eval_loss": 1.2}))
    assert runs.row(connection, run).metrics["eval_loss"] == 1.2
    take_in(connection, job, tmp_path / "e", events.metrics(40, {"eval_loss": 1.3}))
    assert runs.row(connection, run).metrics["eval_loss"] == 1.3, "it goes on"
