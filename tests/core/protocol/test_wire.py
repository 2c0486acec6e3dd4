"""Requests on the wire: each has a unique verb, one answer type and a function that answers it."""

import msgspec
import pytest

from finetop.core.features.approaches import messages as approaches
from finetop.core.features.data_versions import messages as data_versions
from finetop.core.protocol import wire
from finetop.core.protocol.events import ApproachMeasured
from finetop.core.protocol.messages import machine, session, trash
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.request import Order, Question, answer_type
from finetop.core.protocol.runs import RunRow
from finetop.core.supervisor.requests import dispatch


def test_every_request_has_a_verb_of_its_own_an_answer_who_answers_it_and_whether_it_only_looks():
    requests = wire.requests()
    assert len(requests) > 50
    assert len({request.__struct_config__.tag for request in requests}) == len(requests)
    assert all(isinstance(answer_type(request), type) for request in requests)
    assert set(dispatch.ANSWERS) == set(requests)
    assert answer_type(Runs) is RunsAnswer
    assert issubclass(Runs, Question) and issubclass(Stop, Order) and not issubclass(Stop, Question)


def test_a_request_goes_there_and_is_read_as_what_it_was():
    line = wire.envelope(7, Runs(limit=3), held=5)
    assert msgspec.json.decode(line)["ask"]["verb"] == "runs"
    envelope = wire.envelope_decoder.decode(line)
    assert (envelope.v, envelope.id, envelope.held) == (wire.VERSION, 7, 5)
    assert wire.read_ask(envelope.ask) == Runs(limit=3)


def test_what_is_no_request_is_not_read():
    for ask in (b'{"verb":"dance"}', b'{"verb":"runs","limit":"x"}', b"[]", b'{"limit":1}'):
        with pytest.raises(msgspec.DecodeError):
            wire.read_ask(msgspec.Raw(ask))


def test_fields_keep_on_the_wire_the_names_that_other_versions_know():
    for struct, wire_name in (
        (RunRow, "said"), (ApproachMeasured, "said"), (approaches.ApproachRow, "said"), (approaches.RunBrief, "said"),
        (approaches.News, "said"), (session.Tested, "said"), (trash.Kept, "said"), (machine.PathsAnswer, "found"),
        (machine.Program, "words"), (data_versions.SourcePair, "one"),
    ):  # fmt: skip
        assert wire_name in {field.encode_name for field in msgspec.structs.fields(struct)}, struct
