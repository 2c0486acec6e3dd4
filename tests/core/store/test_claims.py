"""Which check has which claim: alphas over checkpoints, repeated checks, checks without a claim."""

import pytest
from store_rows import add_run, write

from finetop.core.check.statistics.betting import spend_alpha
from finetop.core.protocol import events
from finetop.core.store import ingest, jobs
from finetop.core.store.claims import Claim, EarlierCheck, claim_for, claim_of

RESULT = {"verdict": "ok", "reason": "", "margin": 0.03, "items_used": 1, "items_total": 1}


def queue(connection, run: int, step: int, claim: Claim) -> int:
    args = {"step": step, "checkpoint": "c", **claim.args}
    return jobs.add_job(connection, run_id=run, verb="check", args=args, priority=0)[0]


def tell(folder, job: int, *verdicts: tuple[int, Claim]):
    """Write a job's verdicts; return its file."""
    results = (events.Verdict(step, {**RESULT, **claim.args}) for step, claim in verdicts)
    return write(folder / f"{job}.jsonl", *results)


def test_each_new_checkpoint_spends_less_and_all_together_no_more_than_alpha() -> None:
    earlier: list[EarlierCheck] = []
    for step in range(10, 1010, 10):
        earlier.append(EarlierCheck(step, {}, claim_for(earlier, step, {}, is_spent=True)))
    assert [earlier_check.claim.claim for earlier_check in earlier] == list(range(1, 101))
    spent = [spend_alpha(0.05, earlier_check.claim.claim) for earlier_check in earlier]
    assert spent[:3] == pytest.approx([0.025, 0.05 / 6, 0.05 / 12])
    assert sum(spent) < 0.05


def test_a_recheck_keeps_its_claim_and_a_look_takes_none() -> None:
    claims = {10: Claim(1), 20: Claim(2), 30: Claim(watch=True)}
    earlier = [EarlierCheck(step, {}, claim) for step, claim in claims.items()]
    assert claim_for(earlier, 10, {}, is_spent=True) == Claim(1)
    assert claim_for(earlier, 10, {}, is_spent=True, watch=True) == Claim(1)
    assert claim_for(earlier, 40, {}, is_spent=True, watch=True) == Claim(watch=True)
    assert claim_for(earlier, 30, {}, is_spent=True) == Claim(3)
    assert claim_for(earlier, 10, {"margin": 1.0}, is_spent=True) == Claim(3), "another margin"


def test_without_every_the_first_is_the_only_claim() -> None:
    assert claim_for([], 20, {}, is_spent=False) == Claim()
    earlier = [EarlierCheck(20, {}, Claim())]
    assert claim_for(earlier, 20, {}, is_spent=False) == Claim()
    assert claim_for(earlier, 10, {}, is_spent=False) == Claim(watch=True)
    assert claim_for(earlier, 20, {"margin": 1.0}, is_spent=False) == Claim(watch=True)
    assert claim_for([EarlierCheck(10, {}, Claim(watch=True))], 20, {}, is_spent=False) == Claim()


def test_claims_come_from_results_and_from_checks_under_way(connection, tmp_path) -> None:
    run = add_run(connection, check={"every": 0.25})
    train, _ = jobs.add_job(connection, run_id=run, verb="train", args={}, priority=10)
    assert claim_of(connection, run, 5) == Claim(watch=True), "while it trains it numbers its claims itself"
    ingest.take_in(connection, train, tell(tmp_path, train, (10, Claim(1)), (20, Claim(2))))
    connection.execute("UPDATE jobs SET word = 'finished' WHERE id = ?", [train])
    assert claim_of(connection, run, 20) == Claim(2)
    assert claim_of(connection, run, 40) == Claim(3)
    job = queue(connection, run, 40, Claim(3))
    assert claim_of(connection, run, 50) == Claim(4)
    connection.execute("UPDATE jobs SET word = 'failed' WHERE id = ?", [job])
    assert claim_of(connection, run, 50) == Claim(3), "a check without a verdict has claimed nothing"


def test_a_run_without_every_claims_once(connection, tmp_path) -> None:
    run, other = (add_run(connection, check={"every": None}) for _ in range(2))
    job = queue(connection, run, 40, claim_of(connection, run, 40))
    assert claim_of(connection, run, 20) == Claim(watch=True)
    ingest.take_in(connection, job, tell(tmp_path, job, (40, Claim())))
    connection.execute("UPDATE jobs SET word = 'finished' WHERE id = ?", [job])
    assert claim_of(connection, run, 20) == Claim(watch=True)
    assert claim_of(connection, run, 40) == Claim()
    assert claim_of(connection, other, 20) == Claim()
