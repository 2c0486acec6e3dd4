"""JUnit XML: well-formed whatever the texts, consistent counts, failures with numbers, skips with reasons."""

from xml.etree import ElementTree

import msgspec
from made_checks import checked

from finetop.core.commands.shared.ci_reports import WHOLE, junit
from finetop.core.protocol.check_result import read


def checked_in_time(lost, **more):
    return read({**checked(lost, "all"), "seconds": 12.3456, **more})


def suite_of(outcome, name="support-tone"):
    root = ElementTree.fromstring(junit(name, outcome))
    suite = root.find("testsuite")
    assert root.tag == "testsuites" and suite is not None
    cases = suite.findall("testcase")
    for element in (root, suite):
        assert element.get("tests") == str(len(cases))
        assert element.get("failures") == str(len(suite.findall("testcase/failure")))
        assert element.get("skipped") == str(len(suite.findall("testcase/skipped")))
    return suite


def case_of(suite, name):
    return next(case for case in suite.findall("testcase") if case.get("name") == name)


def test_ok_has_a_case_for_the_whole_and_one_a_task():
    suite = suite_of(checked_in_time({}))
    assert [case.get("name") for case in suite] == [WHOLE, "arith", "knowledge", "guesses"]
    assert {case.get("classname") for case in suite} == {"support-tone"}
    assert (suite.get("failures"), suite.get("skipped"), suite.get("time")) == ("0", "1", "12.346")
    assert case_of(suite, WHOLE).get("time") == "12.346"
    assert "nothing lost" in case_of(suite, WHOLE).findtext("system-out", "")
    assert "base 1.000, tuned 1.000, change 0.0 points" in case_of(suite, "arith").findtext("system-out", "")
    skipped = case_of(suite, "guesses").find("skipped")
    assert "within 3 standard errors of chance" in skipped.get("message")


def test_a_lost_task_and_the_whole_fail_with_numbers():
    suite = suite_of(checked_in_time({"arith": 60}))
    assert suite.get("failures") == "2"
    failure = case_of(suite, "arith").find("failure")
    assert failure.get("message") == "-30.0 points (limit 3.0)"
    assert failure.text.startswith("base 1.000, tuned 0.700, change -30.0 points (-")
    assert failure.text.endswith("60 lost, 0 won, 200 of 200 items, lost")
    whole = case_of(suite, WHOLE).find("failure")
    assert whole.get("message").startswith("REGRESSED  15.0 points lost (limit 3.0)")
    assert case_of(suite, "knowledge").find("failure") is None


def test_no_verdict_skips_everything():
    facts = {"verdict": "no_verdict", "reason": "178 of 200 items joined.", "margin": 0.03}
    suite = suite_of(read({**facts, "items_used": 0, "items_total": 200}))
    assert [case.get("name") for case in suite] == [WHOLE]
    assert suite.find("testcase/skipped").get("message") == "NO VERDICT  178 of 200 items joined."


def test_any_text_gives_well_formed_xml():
    outcome = checked_in_time({"arith": 60})
    for nasty in (
        "a<b>&\"'",
        "\0\b\v\x1f",
        "\x1b[31mred",
        "\ud800",
        "￾￿",
        "]]>",
        "a\nb",
        "\u202e",
        "\U0001f600",
    ):
        task = msgspec.structs.replace(outcome.tasks[0], task=f"t{nasty}")
        tasks = (task, *outcome.tasks[1:])
        text = junit(f"n{nasty}", msgspec.structs.replace(outcome, notes=(nasty,), tasks=tasks))
        assert len(ElementTree.fromstring(text.encode()).find("testsuite")) == 4
        assert not set(text) & set("\0\b\v\x1f\x1b￾￿\ud800")
