"""The warnings of `finetop run` after queueing."""

from rig import write_recipe

from finetop.core.runtime import ranks


def test_cpu_ranks_that_the_supervisor_does_not_have(finetop, rig, tmp_path, monkeypatch):
    rig.submit("first")  # the supervisor started without the variable
    recipe = str(write_recipe(tmp_path, "next"))
    for expected, warns in ((None, False), ("1", False), ("2", True)):
        if expected is not None:
            monkeypatch.setenv(ranks.CPU_RANKS, expected)
        code, _, errors = finetop("run", recipe, "--hold")
        assert code == 0
        assert ("FINETOP_CPU_RANKS is 2 here, but the supervisor started with 1" in errors) == warns
