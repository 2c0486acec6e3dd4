"""`finetop export --to gguf` on the real supervisor with fake jobs: what is ordered, and where it goes."""

from __future__ import annotations

import json

import pytest

from finetop.core.features.export import requests
from finetop.core.protocol.messages.runs import GetRun


@pytest.mark.slow
def test_gguf_is_a_format_and_another_name_a_folder(finetop, rig, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(requests.parts, "require", lambda package: None)
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
        (("--to", "ggfu"), "Did you mean --to gguf?"),
        (("--to", "gguf", "--adapter"), "an adapter is no GGUF file"),
    ):
        code, _, err = finetop("export", name, *words)
        assert code == 2 and says in err and err.count("\n") == 1


@pytest.mark.slow
def test_a_refused_file_is_named_and_the_others_are_written(finetop, rig, tmp_path):
    name = rig.submit("one", steps=4, saved=[4], refused=["q2_k"])
    rig.wait_state(name, "finished")
    order = ("export", name, "--quant", "q8_0,q2_k")
    code, out, err = finetop(*order, "--to", str(tmp_path / "a"))
    assert (
        code == 1 and "q2_k is REGRESSED -12.0 (lost arith -30.0, arc -4.0) against what was trained" in err
    )
    assert "\nexported it as GGUF: " in out and out.count("exported") == 1
    assert "\n  q8_0: ok -0.4 against what was trained, 2.1x smaller\n" in out
    code, out, _ = finetop(*order, "--to", str(tmp_path / "b"), "--json")
    files = json.loads(out)["files"]
    assert (code, [file["standing"] for file in files]) == (1, ["written", "refused"])
    code, out, _ = finetop("export", name, "--quant", "q8_0", "--to", str(tmp_path / "c"))
    assert code == 0
    code, out, _ = finetop("show", name)
    assert out.count("  export     at step 4: q8_0: ok -0.4") == 3
    assert "q2_k: REGRESSED -12.0 against what was trained, 2.1x smaller, refused" in out


@pytest.mark.slow
def test_an_export_of_a_step_that_regressed_says_so_first_and_in_its_files(finetop, rig, tmp_path):
    name = rig.submit("bad", steps=4, saved=[2, 4], lost=30, check=True)
    rig.wait_job(name, "check")
    code, out, err = finetop("export", name, "--to", str(tmp_path / "a"))
    assert code == 0, err
    says = out.splitlines()[0].removeprefix("warning: ")
    assert says.startswith(f"{name}@4 is REGRESSED: it lost ") and says.endswith(
        "(`finetop triage` shows what)."
    )
    assert json.loads(finetop("export", name, "--to", str(tmp_path / "b"), "--json")[1])["warning"] == says
    finetop("accept", name, "--reason", "only the voice counts")
    assert finetop("export", name, "--to", str(tmp_path / "c"))[1].splitlines()[0] == f"warning: {says}"
    finetop("export", f"{name}@2", "--to", str(tmp_path / "d"))
    exports = [job for job in rig.ask(GetRun(name)).jobs if job.verb == "export"]
    told = {job.args["step"]: job.args.get("warning") for job in exports}
    assert told == {4: says, 2: None}, "another checkpoint's verdict is not its own"


def test_a_killed_export_leaves_nothing_and_clean_names_what_could_not_be_removed(finetop, rig, tmp_path):
    name = rig.submit("one", steps=4, saved=[4], export_dies=True)
    rig.wait_state(name, "finished")
    code, _, err = finetop("export", name, "--to", str(tmp_path / "a" / "out"))
    assert code != 0 and "killed by signal 9" in err
    half = tmp_path / "a" / ".out.partial"
    assert not half.exists()
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"w" * 5000)
    code, out, _ = finetop("clean")
    assert code == 0 and "unfinished export  one  5.0 kB  its export was killed" in out
    assert finetop("clean", "--yes")[0] == 0 and not half.exists()


@pytest.mark.slow
def test_an_export_that_is_tried_again_has_not_failed(finetop_of, cold_rig, tmp_path):
    rig, finetop = cold_rig, finetop_of(cold_rig.home)
    rig.settings = "settings: 1\nretry: {times: 1, wait_s: 0}\n"
    rig.up()
    name = rig.submit("one", steps=4, saved=[4], refused=[], export_dies=True)
    rig.wait_state(name, "finished")
    code, out, err = finetop("export", name, "--quant", "q8_0", "--to", str(tmp_path / "a"))
    assert code == 0, err
    assert "killed by signal 9; it is tried again\n" in out and "  q8_0: ok" in out
