"""What must not leave is found in every kind of file; the hub's refusals are one line each; scores in its form."""

import gzip
import pickle
import socket

import numpy
import pytest
import yaml
from hub import TOKEN, serve
from huggingface_hub import constants
from huggingface_hub.utils import _http
from safetensors.numpy import save_file

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.push import folder, job, leaks
from finetop.core.features.push.messages import Card, PublicScore

SECRET = "hf_" + "aB3dE6gH9" * 4


def request_of(tmp_path, **more):
    places = ("org/base", tmp_path / "out", "org/name")
    return folder.PushRequest("one", 4, *places, "merged", "", "", False, False, Card({}, "", **more))


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("config.json", f'{{\n"a": 1,\n"auth": "{SECRET}"}}', "config.json:3: holds what looks like a Hugging Face token"),
    ("config.json", '{\n"_name_or_path": "/models/llama/base"}', "config.json:2: holds a local path, /models/llama"),
    ("README.md", "# x\n\nof /work/me/data.jsonl", "README.md:3: holds a local path, /work/me/data.jsonl"),
    ("Modelfile", "FROM file:///home/me/x.gguf", "Modelfile:1: holds a local path"),
    ("notes.txt", "HOST", "notes.txt:1: holds this machine's name"),
    ("tokenizer.json", "HOME/x", "tokenizer.json:1: holds a path of this machine"),
    ("training_args.bin", "", "training_args.bin is of a kind that no model needs"),
    ("auth.json", f'"{SECRET}"'.replace("B", "\\u0042"), "auth.json:1: holds what looks like a Hugging Face token"),
    (f"notes-{SECRET}.md", "", "the name of a file holds what looks like a Hugging Face token"),
    ("model.safetensors", "HOME/base", r"model.safetensors \(its metadata\):1: holds a path of this machine"),
])  # fmt: skip
def test_what_must_not_leave_is_named_with_its_place(tmp_path, monkeypatch, name, text, expected):
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-box-17")
    out, home = tmp_path / "out", tmp_path / "home"
    out.mkdir()
    text = text.replace("HOST", "trained on gpu-box-17").replace("HOME", str(home))
    if name.endswith(".safetensors"):
        save_file({"a": numpy.zeros(2, "float32")}, out / name, metadata={"format": text})
    else:
        (out / name).write_text(text)
    (out / "generation_config.json").write_text('{"eos_token_id": 2, "chat_template": "https://a.b/home/c"}')
    with pytest.raises(BadInput, match=expected) as caught:
        leaks.require_none(out, folder.files_of(out), home, ("org/name",))
    assert SECRET not in str(caught.value)
    (out / name).unlink()
    (out / "tokenizer.json").write_text('{"vocab": {"/home/user": 1, "root": 2, "gpu-box-17": 3}}')
    leaks.require_none(out, folder.files_of(out), home, ("org/name",))


PICKLED = pickle.dumps({"a": 1})
ZIPPED = b"PK\x03\x04" + bytes(20)


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("notes.txt", b"a\xff " + SECRET.encode(), "notes.txt is no text in UTF-8: byte 1"),
    ("notes.txt", SECRET.encode("utf-16"), "is a text in UTF-16"),
    ("notes.txt", SECRET.encode("utf-16-le"), "is no text in UTF-8: byte 1 is 0"),
    ("model.PT", ZIPPED, "is an archive or a pickle"),
    ("model.pth.tar", bytes(512), "of a kind that no model needs"),
    ("model.joblib", PICKLED, "is a pickle"),
    ("state.json", PICKLED, "is a pickle"),
    ("state.json", gzip.compress(b"a", mtime=0), "is an archive"),
    ("model.dill", b"cos\nsystem\n.", "of a kind that no model needs"),
    ("arrays.npz", ZIPPED, "is an archive or a pickle"),
    ("sub/curves.png", b"\x89PNG\r\n\x1a\n", "of a kind that no model needs"),
    ("curves.png", b"no picture", "of a kind that no model needs"),
    ("model.gguf", b"GGML", "of a kind that no model needs"),
    ("model.safetensors", b"\x10", "is no safetensors file"),
    ("model.gguf", b"GGUF" + bytes(3 * (1 << 20) - 9) + b"THE-SECRET-VALUE", "model.gguf: holds the value of MY_TOKEN"),
    ("tokenizer.model", b"\n\x00" + "THE-SECRET-VALUE".encode("utf-16-le"), "holds the value of MY_TOKEN"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_what_can_not_be_searched_is_refused_and_weights_are_searched_to_their_end(
    tmp_path, monkeypatch, name, content, expected
):
    monkeypatch.setattr(leaks, "BLOCK", 1 << 20)  # the value lies across two of them
    monkeypatch.setenv("MY_TOKEN", "THE-SECRET-VALUE")
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(BadInput, match=expected) as caught:
        leaks.require_none(tmp_path / "out", [name], tmp_path / "home", ())
    assert SECRET not in str(caught.value) and "THE-SECRET" not in str(caught.value)


def test_each_refusal_of_the_hub_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    request, sizes = request_of(tmp_path), {"config.json": 2}

    class Events:
        write = staticmethod(lambda event: None)

    def refused(kind, expected):
        with pytest.raises(kind, match=expected) as caught:
            job.upload(request, sizes, Events)
        assert "\n" not in str(caught.value) and TOKEN not in str(caught.value)

    with serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        _http.close_session()
        refused(BadInput, "there is no token")
        (tmp_path / "token").write_text("hf_wrong")
        refused(BadInput, "the hub does not accept the token")
        (tmp_path / "token").write_text(TOKEN)
        hub.refuses = 403
        refused(BadInput, "may not write to org/name")
        hub.refuses = 0
        hub.private["org/name"] = False
        refused(BadInput, "org/name exists and is public")
        assert not hub.files
    _http.close_session()
    refused(EnvironmentTrouble, "the upload to org/name was cut")


def test_the_card_tells_each_file_s_own_verdict_and_asks_for_a_licence(tmp_path):
    verdict = {
        "verdict": "regressed", "reason": "", "margin": 0.03, "drop": 0.061,
        "items_used": 200, "items_total": 672, "suite": "quick",
    }  # fmt: skip
    sizes = {"bytes": 2_000_000, "nats": 3.1, "reference_nats": 3.0, "answers": 50, "answers_differ": 9}
    files = [
        {"file": "q2_k.gguf", **sizes, "verdict": verdict},
        {"file": "f16.gguf", **sizes, "verdict": None},
    ]
    agreement = {"of": "x vs. y", "mean": 1e-6, "largest": 1e-5, "tokens": 9}
    facts = {"base": {"revision": "1"}, "files": files, "agreements": [agreement]}
    text = "\n".join(folder.file_lines(request_of(tmp_path), facts))
    assert (
        "are the same; REGRESSED -6.1 points against the trained model on 200 of 672 items of quick." in text
    )
    assert text.endswith("41 of 50 answers are the same.") and "log-probabilities (nats)" in text
    assert "Fill in `license`" in folder.licence_lines({"org/base": ""}, is_stated=False)[1]


def test_scores_are_in_the_hub_s_own_form(tmp_path):
    score = PublicScore("openbookqa", "allenai/openbookqa", "main", 41.2, "all 500 items")
    text = folder.scores_text(request_of(tmp_path, scores=[score]))
    dataset = {"id": "allenai/openbookqa", "task_id": "main"}
    assert yaml.safe_load(text) == [{"dataset": dataset, "value": 41.2, "notes": "all 500 items"}]
