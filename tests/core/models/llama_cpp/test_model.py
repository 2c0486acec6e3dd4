"""llama.cpp in a process of its own: what it says of a tiny file, and how refusals and crashes are told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import gguf_file
import numpy as np
import pytest
from waiting import wait_until

from finetop.core.errors import BadInput, FinetopError
from finetop.core.models.llama_cpp import model as llama_cpp
from finetop.core.models.llama_cpp.model import Model, Sampling, started
from finetop.core.runtime import processes

if find_spec("llama_cpp_py_sync") is None:
    pytest.skip("llama.cpp is not installed: finetop[gguf]", allow_module_level=True)

WORDS = [*"abcdefgh", "é", "Ã", "©", "<|end|>"]
WIDTH, INNER, LAYERS = 32, 48, 2


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    sizes = {"width": WIDTH, "inner": INNER, "heads": 2, "groups": 2, "layers": LAYERS}
    writer = gguf_file.begin(path, WORDS, ["a b"], "gpt-2", special=[len(WORDS) - 1], **sizes)
    draw = np.random.default_rng(33)
    shapes = {"token_embd.weight": (len(WORDS), WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        names = {f"attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        names |= {"ffn_gate.weight": (INNER, WIDTH), "ffn_up.weight": (INNER, WIDTH)}
        names |= {
            "ffn_down.weight": (WIDTH, INNER),
            "attn_norm.weight": (WIDTH,),
            "ffn_norm.weight": (WIDTH,),
        }
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in names.items()}
    for name, shape in shapes.items():
        writer.add_tensor(name, draw.normal(0, 0.3, shape).astype(np.float32))
    gguf_file.finish(writer)
    return path


@pytest.fixture(scope="module")
def opened(file: Path) -> Iterator[Model]:
    with llama_cpp.open_model(file, context=64, threads=1) as model:
        yield model


def test_a_file_says_what_it_is_and_scores_as_its_logits_do(opened: Model) -> None:
    facts, end = opened.facts, len(WORDS) - 1
    assert (facts.tokens, facts.trained_context, facts.context) == (12, 64, 64)
    assert (facts.eos, facts.stops) == (end, [end])
    assert opened.vocabulary() == WORDS
    assert opened.tokenize(["abc<|end|>", ""]) == [[0, 1, 2, end], []]

    ids = [0, 3, 5, 1, 2, 7]
    rows = opened.logits(ids)
    pieces = [opened.logits(ids[:4]), opened.logits(ids, 4), opened.logits(ids, 2)[2:]]
    assert np.allclose(np.concatenate(pieces[:2]), rows, atol=1e-3)
    assert np.allclose(pieces[2], rows[4:], atol=1e-3)
    shifted = rows - rows.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    own = log_probs[np.arange(5), ids[1:]]
    each = opened.score([(ids[:at], [ids[at]]) for at in range(1, len(ids))])
    assert np.allclose([scored.log_prob for scored in each], own, atol=1e-3)
    (whole, again) = opened.score([(ids[:3], ids[3:]), (ids[:3], ids[3:])])
    assert abs(whole.log_prob - own[2:].sum()) < 2e-3 and whole.tokens == 3
    assert whole.is_greedy == (rows[2:5].argmax(-1) == ids[3:]).all()
    assert abs(again.log_prob - whole.log_prob) < 2e-3  # its beginning was not read again
    best = int(rows[2].argmax())
    assert opened.score([(ids[:3], [best])])[0].is_greedy


def test_answers_come_token_by_token_and_can_be_left(opened: Model) -> None:
    prompt = [0, 3, 5]
    greedy = [token.id for token in opened.generate(prompt, 6)]
    ids, wanted = list(prompt), []
    for _ in greedy:
        wanted.append(int(opened.logits(ids)[-1].argmax()))
        ids.append(wanted[-1])
    assert greedy == wanted
    drawn = Sampling(temperature=2.0, seed=7)
    first = [token.id for token in opened.generate(prompt, 12, drawn)]
    assert first == [token.id for token in opened.generate(prompt, 12, drawn)]
    assert first != [token.id for token in opened.generate(prompt, 12, Sampling(temperature=2.0, seed=8))]
    answer = opened.generate(prompt, 50)
    next(answer)
    answer.close()
    assert [token.id for token in opened.generate(prompt, 6)] == greedy
    full = list(opened.generate(prompt, 500, Sampling(temperature=3.0, seed=1)))
    assert full[-1].ends or len(full) == 61  # until the context is full
    with pytest.raises(BadInput, match="66 tokens don't fit into a context of 64"):
        list(opened.generate([0] * 65, 5))


def test_what_is_no_model_is_refused_and_a_crash_is_one_error(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:-1000])
    with llama_cpp.started() as process:
        for bad in (cut, tmp_path / "none.gguf", Path(__file__)):
            with pytest.raises(BadInput, match=rf"{bad.name}: llama.cpp can't load it"):
                process.open(bad, 0)
        model = process.open(file, 0)
        assert model.facts.context == 0
        assert model.tokenize(["ab"]) == [[0, 1]]
        os.kill(model._process.process.pid, signal.SIGABRT)
        with pytest.raises(FinetopError, match=r"llama\.cpp crashed \(SIGABRT\)"):
            model.tokenize(["x"])
    for number, words in ((signal.SIGILL, "AVX2"), (signal.SIGKILL, "memory")):
        with llama_cpp.open_model(file, 0) as model:
            os.kill(model._process.process.pid, number)
            with pytest.raises(FinetopError, match=words):
                model.tokenize(["x"])


def test_it_sees_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build for CUDA would take one: it computes beside jobs that have the GPUs, and its speed is this CPU's."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with started() as process:
        seen = wait_until(lambda: processes.environment_of(process.process.pid))  # empty for a moment
    assert seen["CUDA_VISIBLE_DEVICES"] == ""


def test_a_quantized_copy_is_smaller(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "q8.gguf"
    with llama_cpp.started() as process:
        process.quantize(file, target, "q8_0", 1)
        assert target.stat().st_size < 0.6 * file.stat().st_size
        assert process.open(target, 32, 1).facts.formats["q8_0"] > 2 * LAYERS
