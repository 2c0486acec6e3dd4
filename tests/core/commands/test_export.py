"""`finetop export --to gguf` on the real supervisor with fake jobs: what is ordered, and where it goes."""

from __future__ import annotations

import json

from finetop.core.protocol.messages.runs import GetRun
from finetop.core.supervisor.requests import submit


def test_gguf_is_a_format_and_another_name_a_folder(finetop, rig, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submit.parts, "require", lambda package: None)
    name = rig.submit("one", steps=4, saved=[4])
    rig.wait_state(name, "finished")
    for words, folder, quants in (
        (("--to", "gguf"), "one-4-gguf", "f16"),
        (("--quant", "q8_0"), "one-4-gguf", "q8_0"),
        (("--to", "./gguf", "--quant", "q4_k_m,Q8_0"), "gguf", "q4_k_m,q8_0"),
        (("--to", "whole"), "whole", None),
    ):
        code, out, err = finetop("export", name, "--json", *words)
        assert code == 0, err
        assert json.loads(out)["folder"] == str(tmp_path / folder)
        job = max((job for job in rig.ask(GetRun(name)).jobs if job.verb == "export"), key=lambda job: job.id)
        assert (job.args["to"], job.args.get("quants")) == (str(tmp_path / folder), quants)
    for words, says in (
        (("--quant", "q4_k"), "Did you mean q4_k_m?"),
        (("--to", "gguf", "--adapter"), "an adapter is no GGUF file"),
    ):
        code, _, err = finetop("export", name, *words)
        assert code == 2 and says in err and err.count("\n") == 1
