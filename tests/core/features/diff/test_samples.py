"""Sample logs of every shape are read alike; faults in a file are counted and never fatal."""

from __future__ import annotations

import json
import tracemalloc
from math import isnan

import pytest
from sample_logs import DATE, choice_row, right, write_log, write_results, written_row

from finetop.core.errors import BadInput, NotFound
from finetop.core.features.diff import samples
from finetop.core.features.diff.sample_text import answer_of, choices_of, gold_of, question_of
from finetop.core.features.diff.samples import read_log, read_row

VERSIONS = ["0.4.3", "0.4.5", "0.4.7", "0.4.9", "0.4.13"]


def task_log(folder, rows, task="t") -> samples.TaskLog:
    return read_log(write_log(folder, task, rows)).tasks[task]


def faults(log: samples.TaskLog) -> dict[str, tuple[int, str]]:
    return {fault.kind: (fault.count, fault.first) for fault in log.faults}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_reads_alike(tmp_path, version):
    rows = [choice_row(n, right(n), version=version, acc=float(right(n)), acc_norm=1.0) for n in range(20)]
    file = write_log(tmp_path, "arc_easy", rows)
    results = {"arc_easy": {"alias": "arc_easy", "acc,none": 0.9}}
    write_results(tmp_path, versions={"arc_easy": 1.0}, results=results)
    log = read_log(tmp_path).tasks["arc_easy"]
    assert (log.metrics, list(log.filters), log.faults) == (("acc", "acc_norm"), ["none"], ())
    read = list(log.filters["none"].values())
    assert [sample.score(0) for sample in read] == [float(right(n)) for n in range(20)]
    assert {sample.choices for sample in read} == {4}
    assert log.results is not None and log.results.version("arc_easy") == "1"
    row = read_row(log, read[7])
    assert row["doc"]["question"] == "What is 7?"
    assert gold_of(row) == "choice 3 of 7" and answer_of(row, "acc") == "choice 3 of 7"
    assert read_log(file).tasks["arc_easy"].filters["none"].keys() == log.filters["none"].keys()


def test_scores_written_as_text_are_scores(tmp_path):
    values = ["True", "False", True, 0.25, "0.5", 1, None, [1.0, 3], float("nan"), float("inf")]
    rows = [choice_row(n, True, acc=value) for n, value in enumerate(values)]
    log = task_log(tmp_path, rows)
    scores = [sample.score(0) for sample in log.filters["none"].values()]
    assert scores[:6] == [1.0, 0.0, 1.0, 0.25, 0.5, 1.0]
    assert all(isnan(score) for score in scores[6:])
    assert log.faults == ()


def test_lists_of_arguments_are_choices_too_and_those_of_mutual_information_are_not(tmp_path):
    rows = [choice_row(n, True) for n in range(3)]
    for row in rows:
        row["arguments"] = [[a["arg_0"], a["arg_1"]] for a in row["arguments"].values()]
    log = task_log(tmp_path, rows)
    first = next(iter(log.filters["none"].values()))
    assert first.choices == 4
    assert choices_of(read_row(log, first)) == [f"choice {place} of 0" for place in range(4)]
    rows = [choice_row(n, True, acc=1.0, acc_mutual_info=1.0) for n in range(3)]
    for row in rows:
        given = list(row["arguments"].values())
        bare = [{"arg_0": "", "arg_1": argument["arg_1"]} for argument in given]
        row["arguments"] = {f"gen_args_{place}": argument for place, argument in enumerate(given + bare)}
    log = task_log(tmp_path, rows)
    assert {sample.choices for sample in log.filters["none"].values()} == {4}


def test_fixed_labels_are_noticed(tmp_path):
    for choices, same in ((("no", "yes"), True), ((), False), (("yes", "yes"), False)):
        rows = [choice_row(n, True, choices=choices) for n in range(6)]
        assert task_log(tmp_path, rows).same_choices is same


def test_written_answers_have_no_choices_and_their_texts(tmp_path):
    log = task_log(tmp_path, [written_row(n, n != 3) for n in range(5)])
    read = list(log.filters["strict-match"].values())
    assert {sample.choices for sample in read} == {0} and not log.same_choices
    row = read_row(log, read[3])
    assert question_of(row) == "Q: What is 3 and 3?\nA:"
    assert (gold_of(row), answer_of(row, "exact_match")) == ("6", "[strict-match: nothing]")


def test_question_keeps_the_end_of_a_long_prompt():
    row = choice_row(5, True, prompt="example " * 200 + "the question itself")
    question = question_of(row)
    assert len(question) == 500 and question.startswith("…") and question.endswith("the question itself")
    bare = {**row, "arguments": {"gen_args_0": {"arg_0": "", "arg_1": " a"}}}
    assert question_of(bare) == "What is 5?"


def test_one_text_scored_says_whether_it_was_the_likeliest_and_norm_weighs_by_length():
    arguments = {"gen_args_0": {"arg_0": "The end of the", "arg_1": " day"}}
    row = {"arguments": arguments, "filtered_resps": [["-2.25", "False"]]}
    assert answer_of(row, "acc") == "right text: -2.25 nats, not the likeliest"
    assert choices_of(row) == []
    row = choice_row(0, True, choices=("a", "a much longer answer"))
    row["filtered_resps"] = [["-2.0", "False"], ["-3.0", "False"]]
    assert (answer_of(row, "acc"), answer_of(row, "acc_norm")) == ("a", "a much longer answer")


def test_broken_lines_are_counted_and_passed_over(tmp_path):
    file = write_log(tmp_path, "t", [choice_row(n, True) for n in range(6)])
    lines = file.read_bytes().splitlines(keepends=True)
    hashless = {name: value for name, value in choice_row(9, True).items() if name != "doc_hash"}
    lines[1] = b'{"doc_id": 1, "doc": {"q\n'
    lines[2] = b"[1, 2]\n"
    lines[3] = json.dumps(hashless).encode() + b"\n"
    lines.insert(4, b"\n")
    lines[-1] = lines[-1][:60]  # cut off while being written, without a newline
    file.write_bytes(b"".join(lines))
    log = read_log(file).tasks["t"]
    assert [sample.doc_id for sample in log.filters["none"].values()] == ["0", "4"]
    assert faults(log) == {samples.BROKEN: (3, f"{file.name}:2"), samples.NO_HASHES: (1, f"{file.name}:4")}


def test_a_line_that_is_no_text_or_too_long_is_one_broken_line(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "MAX_LINE_BYTES", 4000)
    rows = [choice_row(0, True), choice_row(1, True, prompt="x" * 9000), choice_row(2, True)]
    file = write_log(tmp_path, "t", rows)
    file.write_bytes(b"\xff\xfe\x00garbage\n" + file.read_bytes())
    log = read_log(file).tasks["t"]
    assert faults(log) == {samples.BROKEN: (2, f"{file.name}:1")}
    read = list(log.filters["none"].values())
    assert [sample.doc_id for sample in read] == ["0", "2"]
    assert read_row(log, read[1])["doc"]["question"] == "What is 2?"  # offsets after it are right


def test_repeats_count_once_and_contradictions_are_told_apart(tmp_path):
    rows = [choice_row(n, True) for n in range(4)]
    file = write_log(tmp_path, "t", [*rows, rows[1], choice_row(2, False), rows[1]])
    log = read_log(file).tasks["t"]
    assert [sample.score(0) for sample in log.filters["none"].values()] == [1.0] * 4
    wanted = {samples.REPEATS: (2, f"{file.name}:5"), samples.CONTRADICTIONS: (1, f"{file.name}:6")}
    assert faults(log) == wanted


def test_filters_of_a_new_log_are_named_by_their_rows(tmp_path):
    names = (("strict-match", False), ("flexible", True))
    log = task_log(tmp_path, [written_row(n, good, filter=name) for name, good in names for n in range(5)])
    assert list(log.filters) == ["strict-match", "flexible"]
    assert [sample.score(0) for sample in log.filters["flexible"].values()] == [1.0] * 5
    assert log.faults == ()


def test_filters_of_an_old_log_are_numbered_or_named_by_its_results(tmp_path):
    # Up to 0.4.5 the second filter's rows follow the first one's, unmarked.
    old = {"version": "0.4.5", "said": "It is 4, no 5."}
    log = task_log(
        tmp_path, [written_row(n, good, **old) for good in (False, True) for n in range(5)], "gsm8k"
    )
    assert list(log.filters) == ["#1", "#2"]
    scores = {"exact_match,strict-match": 0.0, "exact_match_stderr,strict-match": 0.0}
    scores["exact_match,flexible-extract"] = 1.0
    write_results(tmp_path, results={"gsm8k": {"alias": "gsm8k", **scores}})
    log = read_log(tmp_path).tasks["gsm8k"]
    assert list(log.filters) == ["strict-match", "flexible-extract"]
    assert [sample.score(0) for sample in log.filters["flexible-extract"].values()] == [1.0] * 5
    assert log.faults == ()


def test_an_old_log_with_all_documents_twice_has_repeats_not_filters(tmp_path):
    # written twice, and of two runs
    for wrong, counted in (
        (None, {samples.REPEATS: 5}),
        (2, {samples.REPEATS: 4, samples.CONTRADICTIONS: 1}),
    ):
        rows = [choice_row(n, True, version="0.4.3") for n in range(5)]
        again = [choice_row(n, n != wrong, version="0.4.3") for n in range(5)]
        log = task_log(tmp_path, rows + again)
        assert list(log.filters) == [""] and len(log.filters[""]) == 5
        assert {kind: count for kind, (count, _) in faults(log).items()} == counted


def test_the_newest_of_several_dates_is_read_and_a_task_name_may_hold_anything_but_a_date(tmp_path):
    write_log(tmp_path, "t", [choice_row(0, False)], date="2026-11-23T10-00-00.000001")
    write_log(tmp_path, "t", [choice_row(0, True)], date="2026-11-24T09-00-00")
    log = read_log(tmp_path)
    assert [sample.score(0) for sample in log.tasks["t"].filters["none"].values()] == [1.0]
    note = "t: 2 logs; the newest was read, 2026-11-24T09-00-00, not 2026-11-23T10-00-00.000001"
    assert log.notes == (note,)
    write_log(tmp_path, "mmlu_pro_2024_math", [choice_row(0, True)])
    (tmp_path / "samples_plain.jsonl").write_text(json.dumps(choice_row(0, True)) + "\n")
    assert sorted(read_log(tmp_path).tasks) == ["mmlu_pro_2024_math", "plain", "t"]


def test_a_folder_above_two_models_is_refused(tmp_path):
    for model in ("base", "tuned"):
        write_log(tmp_path, "t", [choice_row(0, True)], model=model)
    with pytest.raises(BadInput, match="t has logs of 2 models: base, tuned"):
        read_log(tmp_path)


def test_what_is_no_log_is_one_clear_error(tmp_path):
    def refused(path, error, why):
        with pytest.raises(error, match=why):
            read_log(path)

    refused(tmp_path / "missing", NotFound, "no such file or folder")
    refused(tmp_path, BadInput, r"has no samples_\*.jsonl in it")
    folder = tmp_path / "samples_t.jsonl"  # a folder in place of a file
    folder.mkdir()
    refused(folder, BadInput, r"has no samples_\*.jsonl in it")
    refused(tmp_path, BadInput, r"has no samples_\*.jsonl in it")
    refused(write_results(tmp_path), BadInput, "holds results, not samples")
    empty = tmp_path / "other.jsonl"
    empty.write_text('{"a": 1}\n{"b"')
    refused(empty, BadInput, r"has no sample in it \(1 rows without hashes, 1 lines that are not")


def test_broken_results_are_said_and_cost_only_versions(tmp_path):
    write_log(tmp_path, "t", [choice_row(0, True)])
    for text in ("{", '{"versions": []}', "[]"):
        write_results(tmp_path).write_text(text)
        log = read_log(tmp_path).tasks["t"]
        assert log.results is None
        assert [fault.kind for fault in log.faults] == [samples.BROKEN_RESULTS]
    # they may hold what is not JSON
    write_results(tmp_path, versions={"t": 2}, results={"t": {"acc,none": float("nan")}})
    log = read_log(tmp_path).tasks["t"]
    assert log.results is not None and log.results.version("t") == "2"
    assert DATE in log.file.path.name


def test_texts_are_not_held(tmp_path):
    """A log of 30 MB, nearly all of it prompts, takes under a tenth of that."""
    file = write_log(tmp_path, "t", [choice_row(n, True, prompt=f"{n}" + "x" * 5000) for n in range(1500)])
    size = file.stat().st_size
    tracemalloc.start()
    try:
        log = read_log(file)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(log.tasks["t"].filters["none"]) == 1500
    assert size > 25_000_000
    assert held < size / 10 and peak < size / 10
