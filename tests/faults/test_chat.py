"""Fault 36: chats whose supervisor is killed, whose GPU a run needs, that nobody reads, or whose server misbehaves."""

import threading

import pytest
from chat_server import chat_server, counts, hangs, never_ends, says
from chats import endpoint, open_chat
from fake_nvml import Cards
from waiting import wait_until

from finetop.core.commands.main import main
from finetop.core.features.chat import messages, transcript as files
from finetop.core.features.chat.messages import ChatSide
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun

MOST = 600


def ended(chat):
    """Close a chat, and wait for its end."""
    chat.rig.ask(messages.CloseChat(*chat.chat))
    wait_until(
        lambda: chat.read() is not None and isinstance(chat.state, data.Ended), lambda: str(chat.state)
    )


def test_a_supervisor_killed_while_answers_stream_loses_and_doubles_nothing(rig, survived):
    name = rig.submit(steps=1, saved=[1])
    rig.wait_state(name, "finished")
    with chat_server(counts(MOST), hangs()) as server, chat_server(never_ends(), says("ok")) as other:
        chat = open_chat(rig, name, endpoint(server.url, "one"), endpoint(other.url, "two"))
        chat.ask(1, "Count", max_new_tokens=2000)
        for kill in (1, 2, 3):
            wait_until(lambda kill=kill: chat.read() and len(chat.text(1).split()) >= 50 * kill, "it streams")
            rig.restart()
        chat.until("end", 1, 2)
        lost = len(set(range(MOST)) - set(map(int, chat.text(1).split())))
        doubled = len(chat.text(1).split()) - MOST + lost
        assert [line.why for line in chat.until("end", 1, 2) if line.side == 1] == ["length"]  # it never ends
        rig.kill()  # what is asked of the next one arrives
        rig.start()
        rig.wait_ready()
        chat.ask(2, "Hang")
        chat.until("end", 2)
        assert chat.text(2, 1) == "ok"
        rig.ask(messages.StopAnswers(*chat.chat))
        assert {line.side: line.why for line in chat.until("end", 2, 2)} == {1: "end", 0: "stopped"}
        prompts = [line.number for line in chat.lines if line.kind == "prompt"]
        attempts = {job.attempt for job in rig.ask(GetRun(name)).jobs if job.verb == "chat"}
        ended(chat)
    wrong = int(prompts != [1, 2]) + int(attempts != {1})
    survived("36", "kill -9 of the supervisor while a chat streams", repeats=4, written=MOST, lost=lost,
             doubled=doubled, wrong=wrong, orphans=len(rig.orphans()))  # fmt: skip


def test_a_link_that_drops_while_an_answer_streams_loses_and_doubles_nothing(hosts, capsys, survived):
    rig = hosts.host("lab")
    name = rig.submit("chatty", steps=1, saved=[1])
    rig.wait_state(name, "finished")
    folder = rig.job_folder(name).parent

    def drop() -> None:
        for kill in (1, 2):
            wait_until(
                lambda kill=kill: sum(f.stat().st_size for f in folder.glob("*chat/ans*")) > 3000 * kill
            )
            hosts.drop("lab")

    with chat_server(counts(MOST, 0.01)) as server:
        dropping = threading.Thread(target=drop, daemon=True)
        dropping.start()
        far = ("--endpoint", server.url, "--endpoint-model", "m", "--max-new-tokens", "2000")
        code = main(["--on", "lab", "ask", name, "Count", *far])
        dropping.join()
    numbers = list(map(int, capsys.readouterr().out.split()))
    lost = len(set(range(MOST)) - set(numbers))
    rig.wait_job(name, "chat")
    survived("36", "the link drops while an answer streams (--on, stand-in for ssh)", repeats=2, written=MOST,
             lost=lost, doubled=len(numbers) - MOST + lost, wrong=code)  # fmt: skip


def test_a_chat_makes_room_for_a_run_that_needs_its_gpu(cold_rig, tmp_path, tiny_model, survived):
    cards = Cards(tmp_path / "nvml.json", count=1)
    cold_rig.model = str(tiny_model)
    cold_rig.up(FINETOP_TEST_NVML=str(cards.file))
    name = cold_rig.submit(steps=1, saved=[1])
    cold_rig.wait_state(name, "finished")
    chat = open_chat(cold_rig, name, ChatSide("base", "base"))
    wait_until(lambda: chat.read() is not None and isinstance(chat.state, data.Running), "it runs")
    beside = open_chat(cold_rig, name, ChatSide("base", "base"), on_cpu=True)
    wait_until(lambda: beside.read() is not None and isinstance(beside.state, data.Running), "beside it")
    gpus = {job.id: len(job.gpus) for job in cold_rig.ask(GetRun(name)).jobs if job.verb == "chat"}
    assert gpus == {chat.chat[1]: 1, beside.chat[1]: 0}
    big = {"memory_gib": 79}
    # told first; the next supervisor does not tell it again; and what is needed no more is withdrawn
    waits = cold_rig.submit("waits", budget=big, steps=2)
    (told,) = chat.until("notice")
    assert told.text == "waits needs the GPU: this chat makes room." and told.ends_at > told.at + 50
    cold_rig.restart(FINETOP_TEST_NVML=str(cards.file))
    cold_rig.wait_because(waits, "GPU")
    chat.read()
    assert len([line for line in chat.lines if line.kind == "notice"]) == 1
    cold_rig.ask(Kill(waits))
    assert [line.ends_at for line in chat.until("notice", count=2)] == [told.ends_at, 0.0]
    assert isinstance(chat.state, data.Running)
    # then it ends, and the run has the GPU; the chat on the CPU goes on
    cold_rig.restart(FINETOP_TEST_NVML=str(cards.file), FINETOP_TEST_CHAT_NOTICE_S="0.3")
    again = cold_rig.submit("again", budget=big, steps=2)
    cold_rig.wait_state(again, "finished")
    wait_until(
        lambda: chat.read() is not None and isinstance(chat.state, data.Stopped), lambda: str(chat.state)
    )
    beside.read()
    assert isinstance(beside.state, data.Running) and not [x for x in beside.lines if x.kind == "notice"]
    ended(beside)
    survived("36", "a run needs the GPU of a chat", repeats=2, orphans=len(cold_rig.orphans()))


def test_a_chat_that_nobody_reads_ends(rig, monkeypatch, survived):
    """In this process, with a shorter patience: the job's own."""
    from finetop.core.features.chat import job as chat_job
    from finetop.core.recipe.job import Job
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.job_folder import read_spec
    from finetop.core.runtime.stop_signal import Stop

    name = rig.submit(steps=1, saved=[1])
    rig.wait_state(name, "finished")
    with chat_server(never_ends()) as server:
        chat = open_chat(rig, name, endpoint(server.url))
        chat.until("ready")
        folder = rig.job_folder(name)
        ended(chat)
        (folder / files.ANSWERS).unlink()
        files.append_ask(folder, files.Prompt(1, "Go on", messages.ChatSettings(max_new_tokens=30_000)))
        monkeypatch.setattr(files, "ABSENT_S", 0.5)
        job = Job(read_spec(folder), folder, EventLog(folder / "events.jsonl"), Stop())
        assert chat_job.work(job) == chat_job.Ended("finished", "nobody read for ten minutes")
    lines = files.all_answers(folder)
    assert [line.why for line in lines if line.kind == "end"] == ["stopped"]
    assert lines[-1].kind == "notice"
    survived("36", "a chat that nobody reads")


@pytest.mark.parametrize("torn", [b'{"kind": "te', b"\xff\xfe\n", b"null\n{}\n"])
def test_a_damaged_transcript_is_read_on(tmp_path, torn, survived):
    transcript = files.Transcript(tmp_path)
    transcript.write(messages.ChatLine("ready", 1.0))
    with (tmp_path / files.ANSWERS).open("ab") as file:
        file.write(torn)
    transcript.write(messages.ChatLine("notice", 2.0, text="on"))
    assert [line.kind for line in files.all_answers(tmp_path)] == ["ready", "notice"]
    survived("36", "a damaged transcript")


def test_a_chat_on_a_node_of_a_cluster(slurm_rig, tiny_model, survived):
    """Its files are on the shared folder; one whose sides are servers alone runs here."""
    slurm_rig.model = str(tiny_model)
    slurm_rig.up()
    name = slurm_rig.submit(steps=1, saved=[1])
    slurm_rig.wait_state(name, "finished")
    with chat_server(says("ok")) as server:
        near = open_chat(slurm_rig, name, endpoint(server.url))
        chat = open_chat(slurm_rig, name, ChatSide("base", "base"), on_cpu=True)
        near.ask(1, "Hi")
        near.until("end", 1)
        chat.ask(1, "Hi", max_new_tokens=4)
        assert [line.tokens for line in chat.until("end", 1)] == [4]
        folders = {job.id: slurm_rig.home.root / slurm_rig.ask(GetRun(name)).folder / job.folder
                   for job in slurm_rig.ask(GetRun(name)).jobs}  # fmt: skip
        assert [(folders[one.chat[1]] / "slurm.txt").exists() for one in (near, chat)] == [False, True]
        for one in (near, chat):
            ended(one)
    survived("36", "a chat on a node of a cluster", orphans=len(slurm_rig.orphans()))
