"""The warnings of `finetop run` after queueing."""

from __future__ import annotations

from finetop.core.runtime import ranks


def test_cpu_ranks_that_the_supervisor_does_not_have(finetop, rig, tmp_path, monkeypatch):
    rig.submit("first")  # the supervisor started without the variable
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 30)
    (tmp_path / "next.yaml").write_text(
        "recipe: 1\nextends: lora\nname: next\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"
    )
    for expected, warns in ((None, False), ("1", False), ("2", True)):
        if expected is not None:
            monkeypatch.setenv(ranks.CPU_RANKS, expected)
        code, _, errors = finetop("run", "next.yaml", "--hold")
        assert code == 0
        assert ("FINETOP_CPU_RANKS is 2 here, but the supervisor started with 1" in errors) == warns
