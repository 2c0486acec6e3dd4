"""Jobs in words: progress, counts, and what a stop ends and keeps."""

from finetop.core.protocol.runs import Queued, Running, SideJob, Tried
from finetop.core.wording import jobs

SCORING = Running(1.0, "scoring tuned", 1200, 1819, "items", 180.0, per_s=3.44)
REMEDIES = SideJob("remedy", Running(1.0, "half-way: scoring tuned", 3, 9, "items", 9.0), Tried(2, 8, 240.0))
TRAINING = SideJob("train", Running(1.0, "training", 3, 9, "steps", 9.0))
CHECK = SideJob("check", SCORING)


def training(**more):
    return Running(1.0, "training", **more)


def scoring(**more):
    return Running(1.0, "scoring", **more)


def test_how_far_a_job_is():
    for verb, state, tried, text in (
        ("command", training(asked="stop"), None, "command stopping: waiting for its program to end"),
        ("command", training(asked="kill"), None, "command being killed"),
        ("watch", training(asked="stop"), None, "watch stopping"),
        ("check", SCORING, None, "check 1,200 of 1,819 items, 3 min left"),
        ("remedy", REMEDIES.state, Tried(2, 8, 240.0), "remedies 2 of 8, 4 min left"),
        ("remedy", REMEDIES.state, Tried(8, 8), "remedies 8 of 8, confirming, 9 s left"),
        ("export", Running(1.0, "loading model", 3.1, 8.0, "GB"), None, "export: loading model, 3.1 of 8 GB"),
        ("check", Running(1.0), None, "check: starting"),
        ("check", Queued(2), None, "check waits, 2nd"),
        ("remedy", Queued(2, held=True), None, "remedies held"),
        ("check", scoring(asked="pause"), None, "check pausing"),
        ("train", training(asked="pause"), None, "training pausing: saving a checkpoint"),
        ("check", scoring(pulse="silent", silent_s=240.0), None, "check SILENT for 4 min"),
    ):
        assert jobs.job(verb, state, tried) == text


def test_what_has_no_room_goes_first_the_unit_then_the_time():
    assert jobs.job("check", SCORING, room=34) == "check 1,200 of 1,819, 3 min left"
    assert jobs.job("check", SCORING, room=27) == "check 1,200 of 1,819 items"
    assert jobs.job("check", SCORING, room=3) == "check 1,200 of 1,819"


def test_jobs_are_counted_by_what_they_do():
    assert jobs.counts({}) == ""
    assert jobs.counts({"check": 1, "train": 2, "remedy": 1}) == "2 trainings, 1 check, 1 remedy job"
    assert jobs.counts({"measure": 1, "approach": 1}) == "2 measurements"
    assert jobs.counts({"command": 2, "watch": 2}) == "2 commands, 2 watches"
    assert jobs.speed(SCORING) == "3.44 items/s"


def test_a_stop_names_what_it_ends_and_promises_a_checkpoint_of_a_training_alone():
    assert jobs.ending("hot", [REMEDIES], "stop") == "stopping the remedies of hot. 2 of 8 done; scores kept."
    assert jobs.ending("hot", [REMEDIES], "kill") == "killing the remedies of hot. 2 of 8 done; scores kept."
    assert jobs.ending("hot", [CHECK], "pause") == "pausing the check of hot."
    assert jobs.ending("hot", [TRAINING], "stop") == "hot saves a checkpoint, then stops."
    both = jobs.ending("hot", [TRAINING, CHECK], "stop")
    assert both == "hot saves a checkpoint, then stops. Also stopping its check."
    queued = SideJob("check", Queued(1))
    assert jobs.ending("hot", [queued], "stop") == "the check of hot removed from the queue."
    assert jobs.named("hot", [TRAINING, CHECK, REMEDIES]) == "hot and its check and its remedies"


def test_a_stop_of_another_program_promises_no_checkpoint_and_of_a_watched_one_nothing():
    command, watch = (SideJob(verb, TRAINING.state) for verb in ("command", "watch"))
    assert jobs.ending("hot", [command], "stop") == "hot is signalled to end, then stops."
    assert jobs.ending("hot", [command], "pause") == "hot is signalled to end, then waits in the queue, held."
    assert jobs.ending("hot", [command], "kill") == "hot is being killed."
    also = jobs.ending("hot", [command, CHECK], "stop")
    assert also == "hot is signalled to end, then stops. Also stopping its check."
    for wish in ("stop", "kill"):
        assert jobs.ending("hot", [watch], wish) == "hot is no longer watched; its program goes on."
    queued = SideJob("command", Queued(1))
    assert jobs.ending("hot", [queued], "stop") == "hot removed from the queue."
    assert jobs.named("hot", [command, CHECK]) == "hot and its check"
    assert jobs.kept([command]) == jobs.kept([watch]) == ""
