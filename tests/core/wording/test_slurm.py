"""Slurm in plain words."""

from finetop.core.wording import slurm

DOWN = "ReqNodeNotAvail (the nodes it may use are down, drained or reserved)"


def test_a_reason_is_given_as_slurm_names_it_and_in_plain_words():
    for reason, text in {
        "Priority": "Priority (jobs with a higher priority go first)",
        "JobHeldUser": "JobHeldUser (held; to release: scontrol release 7)",
        "QOSMaxJobsPerUser": "QOSMaxJobsPerUser (a limit of the QOS is reached)",
        "AssocGrpCpuLimit": "AssocGrpCpuLimit (a limit of the account is reached)",
        "ReqNodeNotAvail, UnavailableNodes:n[1-4]": DOWN,
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": DOWN,
        "SomethingNew": "SomethingNew",
        "": "None (Slurm schedules it next)",
    }.items():
        assert slurm.waits(reason, "7") == f"waits for: {text}"


def test_silence_has_its_beginning():
    assert slurm.silent(None) == "Slurm does not answer"
    assert slurm.silent(0.0).startswith("Slurm has not answered since ")


def test_a_refusal_names_the_setting_to_change_and_a_limit_on_waiting_jobs_is_one_of_now():
    for stderr, setting in {
        "sbatch: error: invalid partition specified: gpux": "slurm.partition",
        "Invalid account or account/partition combination specified": "slurm.account",
        "Invalid qos specification": "slurm.qos",
        "Requested time limit is invalid (missing or exceeds some limit)": "slurm.time",
        "Requested node configuration is not available": "budget.gpus",
        "unrecognized option '--mme=3'": "slurm.extra",
        "something new": "slurm in settings.yaml",
    }.items():
        assert setting in slurm.advice(stderr)
        assert not slurm.may_pass(stderr)
    limits = "(job submit limit, user's size and/or time limits)"
    assert slurm.may_pass(f"Job violates accounting/QOS policy {limits}")
