"""Slurm in plain words."""

import pytest

from finetop.core.wording import slurm


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "waits for: Priority (jobs with a higher priority go first)"),
        ("JobHeldUser", "waits for: JobHeldUser (held; to release: scontrol release 7)"),
        ("QOSMaxJobsPerUser", "waits for: QOSMaxJobsPerUser (a limit of the QOS is reached)"),
        ("AssocGrpCpuLimit", "waits for: AssocGrpCpuLimit (a limit of the account is reached)"),
        (
            "ReqNodeNotAvail, UnavailableNodes:n[1-4]",
            "waits for: ReqNodeNotAvail (the nodes it may use are down, drained or reserved)",
        ),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "waits for: ReqNodeNotAvail (the nodes it may use are down, drained or reserved)",
        ),
        ("SomethingNew", "waits for: SomethingNew"),
        ("", "waits for: None (Slurm schedules it next)"),
    ],
)
def test_a_reason_is_told_as_slurm_names_it_and_in_plain_words(reason, words):
    assert slurm.waits(reason, "7") == words


def test_silence_is_told_with_its_beginning():
    assert slurm.silent(None) == "Slurm does not answer"
    assert slurm.silent(0.0).startswith("Slurm has not answered since ")


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("sbatch: error: invalid partition specified: gpux", "slurm.partition"),
        ("Invalid account or account/partition combination specified", "slurm.account"),
        ("Invalid qos specification", "slurm.qos"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "slurm.time"),
        ("Requested node configuration is not available", "budget.gpus"),
        ("unrecognized option '--mme=3'", "slurm.extra"),
        ("something new", "slurm in settings.yaml"),
    ],
)
def test_a_refusal_names_the_setting_to_change(said, setting):
    assert setting in slurm.advice(said)
    assert not slurm.may_pass(said)


def test_a_limit_on_waiting_jobs_is_one_of_now():
    assert slurm.may_pass(
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    )
