"""What a run's earlier jobs reported, without what was superseded; claims stay spent."""

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.train.resume.earlier_jobs import fingerprints, read_earlier_jobs


def write(run, name, *happened):
    folder = run / "jobs" / name
    folder.mkdir(parents=True)
    log = event_log.EventLog(folder / "events.jsonl")
    for event in happened:
        log.write(event)
    log.close()
    return folder


def data(fingerprint):
    return events.DataRead("faq.jsonl", 9, 9, 0, 0, 5, 40, fingerprint)


def verdict(step, claim, watch=False):
    plain = {"verdict": "ok", "reason": "", "margin": 0.03, "items_used": 9, "items_total": 9}
    return events.Verdict(step, {**plain, "claim": claim, "watch": watch, "step": step})


def test_a_resumed_run_forgets_what_is_no_more_but_not_what_was_claimed(tmp_path):
    write(
        tmp_path, "0001-train", data("a"), verdict(10, 1), verdict(20, 2), events.metrics(20, {"eval_loss": 3.0}),
        events.metrics(10, {"eval_loss": 4.0, "loss": 1.0}), verdict(30, 3),
    )  # fmt: skip
    write(tmp_path, "0002-check", verdict(30, 9, watch=True))
    with (tmp_path / "jobs" / "0001-train" / "events.jsonl").open("ab") as file:
        file.write(b'{"n": 99, "t": 1.0, "e": {"type":"verdict", torn')
    second = write(tmp_path, "0003-train", data("b"), events.Resumed(10), verdict(20, 4))
    third = write(tmp_path, "0004-train", data("c"), verdict(20, 5))
    told = read_earlier_jobs(tmp_path, third)
    assert told.data == {"faq.jsonl": "b"}
    assert {step: result["claim"] for step, result in told.verdicts.items()} == {10: 1, 20: 4}
    assert told.eval_losses == {10: 4.0}
    assert told.claims == 4
    assert read_earlier_jobs(tmp_path, second).claims == 3
    assert fingerprints(third) == {"faq.jsonl": "c"}


def test_what_training_took_so_far_is_added_up_by_the_jobs_themselves(tmp_path):
    def phase(spent_s):
        return events.Phase("training", 1.0, 9.0, "steps", 1.0, spent_s)

    write(tmp_path, "0001-train", phase(1.0), phase(7.5), events.Phase("writing the final checkpoint"))
    write(tmp_path, "0002-check", events.Phase("scoring"))
    second = write(tmp_path, "0003-train", phase(9.0))
    assert read_earlier_jobs(tmp_path, second).spent_s == 7.5
    assert read_earlier_jobs(tmp_path, tmp_path / "jobs" / "0004-train").spent_s == 9.0


def test_of_a_job_that_was_started_again_counts_what_it_told_before(tmp_path):
    start = events.Started(1, 1, 1, "cpu", "float32", {})
    write(tmp_path, "0001-train", start, data("a"), verdict(10, 1))
    again = write(
        tmp_path, "0002-train", start, data("b"), events.Resumed(10), verdict(20, 2), verdict(30, 3),
        start, data("c"), events.Resumed(20), verdict(30, 4), start, data("d"), verdict(40, 5),
    )  # fmt: skip
    told = read_earlier_jobs(tmp_path, again)
    assert (told.data, told.claims) == ({"faq.jsonl": "c"}, 4)
    assert {step: result["claim"] for step, result in told.verdicts.items()} == {10: 1, 20: 2, 30: 4}
