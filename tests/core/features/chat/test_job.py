"""A chat's answers are those of transformers' own `generate`, on one model for an adapter and its base."""

import shutil
import warnings

import gguf_trial
import msgspec
import pytest
import torch
from transformers.generation import utils
from transformers.generation.utils import StopCheck

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.chat import job as chat_job, transcript as files
from finetop.core.features.chat.generate import Decoder, Kept, generate
from finetop.core.features.chat.job import Asks, Chat, open_sides
from finetop.core.features.chat.messages import ChatLine, ChatSettings, ChatSide
from finetop.core.features.chat.sides import KIND, checkpoint as sides_checkpoint
from finetop.core.features.chat.transcript import Prompt, Transcript
from finetop.core.features.export.gguf_writer import token_proof, writer as gguf_writer
from finetop.core.models import checkpoint

ADAPTER, WHOLE = "checkpoints/step-000004", "checkpoints/step-000008"
LENGTH = 10


def opened(world, *sides):
    """Open sides. Return the chat, its writers and its folder."""
    job = world.job(*sides)
    transcript = Transcript(job.folder)
    _, writers = open_sides(job, files.sides_of(job.args), transcript.tell)
    return Chat(writers, transcript, Asks(job, transcript)), writers, job.folder


def answers(folder, number):
    """Return the text of each side's answer to a prompt, and the lines that end them."""
    lines = [line for line in files.all_answers(folder) if line.number == number]
    ends = {line.side: line for line in lines if line.kind in ("end", "error")}
    pieces = [(line.side, line.text) for line in lines if line.kind == "text"]
    return {side: "".join(text for at, text in pieces if at == side) for side in ends}, ends


def plain_answer(model, tokenizer, turns, **how):
    """Return what transformers' `generate` answers: its text and its number of tokens."""
    messages = [{"role": role, "content": text} for role, text in turns]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    torch.manual_seed(how.pop("seed", 0))
    written = model.generate(**ids, max_new_tokens=LENGTH, **(how or {"do_sample": False}))[0]
    new = written[ids.input_ids.shape[1] :].tolist()
    ended = new[-1] == tokenizer.eos_token_id
    return tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=True), len(new)


@pytest.fixture(scope="module")
def plain(world):
    """The same models, loaded with transformers and PEFT alone: base, adapter, whole; and their tokenizer."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def load(folder):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    with warnings.catch_warnings(action="ignore"):
        adapter = PeftModel.from_pretrained(load(world.model), world.folder / ADAPTER).eval()
    tokenizer = AutoTokenizer.from_pretrained(world.model)
    return [load(world.model), adapter, load(world.folder / WHOLE)], tokenizer


def test_both_sides_answer_as_transformers_does_over_several_turns(world, plain):
    models, tokenizer = plain
    sides = (world.side("base"), world.side("checkpoint", ADAPTER))
    chat, writers, folder = opened(world, *sides)
    assert writers[0].model is writers[1].model  # an adapter and its base are one model in memory
    settings = ChatSettings(system="Be brief.", max_new_tokens=LENGTH)
    turns = [[("system", "Be brief.")] for _ in sides]
    for number, text in enumerate(("Hello there", "And the shop?", "Who?"), 1):
        chat.answer(Prompt(number, text, settings))
        texts, ends = answers(folder, number)
        for side in (0, 1):
            turns[side].append(("user", text))
            wanted, tokens = plain_answer(models[side], tokenizer, turns[side])
            assert (texts[side], ends[side].tokens) == (wanted, tokens)
            turns[side].append(("assistant", texts[side]))
    assert texts[0] != texts[1]
    # one side alone, in a new conversation; then sampled, both with the same seed
    chat.answer(Prompt(4, "Hello there", ChatSettings(max_new_tokens=LENGTH), fresh=True, sides=[1]))
    assert answers(folder, 4)[0] == {1: plain_answer(models[1], tokenizer, [("user", "Hello there")])[0]}
    sampled = ChatSettings(temperature=1.5, top_p=0.9, seed=5, max_new_tokens=LENGTH)
    chat.answer(Prompt(5, "Hello there", sampled, fresh=True))
    how = {"do_sample": True, "temperature": 1.5, "top_p": 0.9, "top_k": 0, "seed": 5}
    drawn = [plain_answer(model, tokenizer, [("user", "Hello there")], **how)[0] for model in models[:2]]
    assert answers(folder, 5)[0] == dict(enumerate(drawn))
    # the prompt as it is
    chat.answer(Prompt(6, "The shop", ChatSettings(max_new_tokens=5, raw=True)))
    ids = tokenizer("The shop", return_tensors="pt")
    new = models[0].generate(**ids, do_sample=False, max_new_tokens=5)[0, ids.input_ids.shape[1] :]
    assert answers(folder, 6)[0][0] == tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("stops_at", [3, None])
def test_a_token_behind_the_end_is_no_part_of_an_answer(plain, monkeypatch, stops_at):
    """As on Apple's GPU, `generate` decides a step late, and drops the token of that step again."""
    (model, *_), tokenizer = plain

    class Late(StopCheck):
        is_over = False

        def __call__(self, unfinished, tokens, length):
            before, self.is_over = self.is_over, super().__call__(unfinished, tokens, length)
            return before

        def finish(self):
            return 1

    prompt = tokenizer("Hello there", add_special_tokens=False, return_tensors="pt")
    fifth = model.generate(**prompt, do_sample=False, max_new_tokens=5)[0, -1]
    if stops_at is None:
        monkeypatch.setattr(model.generation_config, "eos_token_id", int(fifth))

    def answer():
        pieces: list[str] = []
        looks = iter(range(99))
        ids, settings = prompt.input_ids[0].tolist(), ChatSettings(max_new_tokens=40)
        stop = (lambda: False) if stops_at is None else (lambda: next(looks) >= stops_at)
        found = generate(model, tokenizer, ids, settings, Kept(), pieces.append, stop)
        return "".join(pieces), found.why, found.tokens

    before = answer()
    monkeypatch.setattr(utils, "StopCheck", Late)
    assert answer() == before
    assert before[1:] == (("stopped", 3) if stops_at else ("end", before[2]))


def test_a_whole_model_is_beside_its_base_and_what_ends_an_answer(world, plain):
    models, tokenizer = plain
    chat, writers, folder = opened(world, world.side("checkpoint", WHOLE), world.side("base"))
    assert writers[0].model is not writers[1].model
    chat.answer(Prompt(1, "Hello", ChatSettings(max_new_tokens=LENGTH)))
    for side, model in ((0, models[2]), (1, models[0])):
        assert answers(folder, 1)[0][side] == plain_answer(model, tokenizer, [("user", "Hello")])[0]
    chat.answer(Prompt(9, "Hello", ChatSettings(max_new_tokens=4, first=1), fresh=True))
    assert list(answers(folder, 9)[1]) == [1, 0], "the second side answers first"
    # a model that never ends is held to the most tokens; a stop takes effect within a token
    ends_never = ChatSettings(max_new_tokens=40)
    for writer in writers:
        writer.model.generation_config.eos_token_id = None
        writer.tokenizer.eos_token = None
    chat.answer(Prompt(2, "Hello", ends_never))
    assert [(end.why, end.tokens) for end in answers(folder, 2)[1].values()] == [("length", 40)] * 2
    seen = []
    chat.asks.is_stopped = lambda number, side: len(seen) >= 7 or bool(seen.append(number))
    chat.answer(Prompt(3, "Hello", ends_never))
    stopped = [(end.why, end.tokens) for end in answers(folder, 3)[1].values()]
    assert stopped == [("stopped", 7), ("stopped", 0)]
    chat.asks.is_stopped = lambda number, side: False
    # longer than the model reads; NaN; a bug: one line each, and the chat goes on
    chat.answer(Prompt(4, "Hello there " * 400, ChatSettings(), fresh=True, sides=[0]))
    assert "tokens, and the model reads at most 512. Begin a new one." in answers(folder, 4)[1][0].text
    with torch.no_grad():
        writers[0].model.model.norm.weight[0] = float("nan")
    chat.answer(Prompt(5, "Hello", ChatSettings(max_new_tokens=4), fresh=True))
    _, ends = answers(folder, 5)
    assert ends[0].text.startswith("the model's output is NaN at token 1 of the answer. Pick")
    assert (ends[1].kind, ends[1].tokens) == ("end", 4)


def test_text_comes_in_whole_characters(plain):
    _, tokenizer = plain
    text = "Grüße, 日本 and 👋🏽 – naïve\n\tok"
    decoder, ids = Decoder(tokenizer), tokenizer.encode(text, add_special_tokens=False)
    pieces = [decoder.push(token) for token in ids]
    assert "".join(pieces) + decoder.rest() == text
    assert not any("\ufffd" in piece for piece in pieces) and pieces.count("") > 5
    cut = Decoder(tokenizer)
    shown = [cut.push(token) for token in ids[:2]]
    assert "".join(shown) + cut.rest() == tokenizer.decode(ids[:2])


def test_a_chat_that_was_started_again_goes_on(world):
    chat, _, folder = opened(world, world.side("base"), world.side("checkpoint", ADAPTER))
    chat.answer(Prompt(1, "One", ChatSettings(max_new_tokens=4)))
    chat.transcript.write(ChatLine("prompt", 1.0, number=2, text="Two"))
    chat.transcript.write(ChatLine("text", 1.0, side=0, number=2, text="par"))
    again = Chat(chat.writers, chat.transcript, chat.asks)
    again.go_on(files.all_answers(folder))
    assert [[turn.content for turn in turns][:1] for turns in again.turns] == [["One"], ["One"]]
    assert [end.text for end in answers(folder, 2)[1].values()] == [chat_job.INTERRUPTED] * 2
    again.answer(Prompt(2, "Two", ChatSettings(max_new_tokens=4)))  # it is not answered twice
    assert len([line for line in files.all_answers(folder) if line.kind == "prompt"]) == 2


def test_a_gguf_file_answers_as_the_model_that_it_was_written_from(world, tmp_path):
    pytest.importorskip("llama_cpp_py_sync", reason="llama.cpp is not installed: finetop[gguf]")
    source = gguf_trial.source_of(world.model)
    source = source.with_rule(token_proof.find_rule(source, tmp_path / "vocabulary.gguf"))
    file = tmp_path / "tiny.gguf"
    gguf_writer.write(source, world.model, file)
    side = files.Side(ChatSide("tiny.gguf", "gguf", path=str(file)))
    KIND.load("gguf").check(side.side)
    chat, writers, folder = opened(world, world.side("base"), side)
    settings = ChatSettings(system="Be brief.", max_new_tokens=LENGTH)
    for number, text in enumerate(("Hello there", "And the shop?"), 1):
        chat.answer(Prompt(number, text, settings))
        texts, ends = answers(folder, number)
        assert texts[1] == texts[0] and ends[0].prompt_tokens == ends[1].prompt_tokens
        assert (ends[1].why, ends[1].tokens) == (ends[0].why, ends[0].tokens)
    chat.asks.is_stopped = lambda number, side: True
    chat.answer(Prompt(3, "Hello", settings, sides=[1]))
    assert answers(folder, 3)[1][1].why == "stopped"
    writers[1].stack.close()
    (tmp_path / "no.gguf").write_bytes(b"GIF89a")
    for name, words in (("no.gguf", "is no GGUF file"), ("none.gguf", "can't be read: No such file")):
        with pytest.raises(BadInput, match=words):
            KIND.load("gguf").check(ChatSide("", "gguf", path=str(tmp_path / name)))


def test_sides_that_can_not_be_opened(world):
    keyed = files.Side(ChatSide("far", "endpoint", url="http://127.0.0.1:9/v1", key_env="MY_KEY"))
    with pytest.raises(EnvironmentTrouble, match=r"far: its key is not here \(MY_KEY\)"):
        opened(world, keyed)
    assert "MY_KEY" in msgspec.json.encode(keyed.plain).decode()


@pytest.mark.parametrize("moment", ["before it is read", "while it is read"])
def test_a_side_whose_step_was_not_named_takes_the_newest_once_its_checkpoint_is_removed(
    world, monkeypatch, moment
):
    """A run that goes on keeps its newest checkpoints alone."""
    folder, old, new = world.folder / "checkpoints", "step-000002", "step-000012"
    for name in (old, new):
        shutil.copytree(world.folder / ADAPTER, folder / name)
        checkpoint.write_manifest(folder / name, {"format": 1, "step": checkpoint.step_of(folder / name)})
    side = world.side("checkpoint", f"checkpoints/{old}", step=2)
    load = sides_checkpoint.load_checkpoint

    def removed(base, at, *more):
        if at.name == old:
            checkpoint.remove(at)
        return load(base, at, *more)

    if moment == "while it is read":
        monkeypatch.setattr(sides_checkpoint, "load_checkpoint", removed)
    else:
        checkpoint.remove(folder / old)
    try:
        with pytest.raises(BadInput, match=r"removed|adapter|checkpoint"):
            opened(world, side)
        if moment == "while it is read":
            shutil.copytree(folder / new, folder / old)
        follows = msgspec.structs.replace(side.place, follows=True)
        chat, _, at = opened(world, files.Side(side.side, follows))
        chat.answer(Prompt(1, "Hello", ChatSettings(max_new_tokens=2)))
    finally:
        for name in (old, new):
            shutil.rmtree(folder / name, ignore_errors=True)
    said = [(line.side, line.text) for line in files.all_answers(at) if line.kind == "notice"]
    words = "2 was removed by its run meanwhile: step 12, the newest, answers here instead."
    assert said == [(0, words)]
    assert answers(at, 1)[1][0].kind == "end"
