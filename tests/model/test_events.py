from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool.model import events as ev
from agentpool.model.mail import Mail
from agentpool.model.plain import from_plain, to_plain
from agentpool.model.run import FailureKind, RunReport

_TEXT = st.text(max_size=20)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_KINDS: tuple[type[ev.Event], ...] = get_args(ev.Event)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field may have, by its type hint: a new field is tested when it is there."""
    plain = {str: _TEXT, int: st.integers(), float: _NUMBER, bool: st.booleans(), NoneType: st.none(), object: _JSON}
    if hint in plain:
        return plain[hint]
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([_values(argument) for argument in arguments])
    if get_origin(hint) is tuple:
        return st.lists(_values(arguments[0]), max_size=2).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(*map(_values, arguments), max_size=3)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    return _instances(hint)


def _instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: _values(hint) for name, hint in get_type_hints(kind).items() if hint not in _CLASS})


_CLASS = (ClassVar[str],)


@settings(max_examples=300, deadline=None)
@given(st.one_of([_instances(kind) for kind in _KINDS]))
def test_every_event_comes_back_from_the_journal_as_it_was(event: ev.Event) -> None:
    """Through JSON, with all its values and types."""
    data = json.loads(json.dumps(ev.encode(event)))
    assert ev.decode(event.name, data) == event


def test_no_two_events_have_the_same_name() -> None:
    """And each name is `thing.what-happened`."""
    names = [kind.name for kind in _KINDS]
    assert len(set(names)) == len(names)
    assert all(name.count(".") == 1 for name in names)


def test_what_is_as_usual_is_not_written() -> None:
    """Records stay short, and a field can be added without a new format."""
    event = ev.MailAccepted(Mail("health", "auth", body="x"))
    assert ev.encode(event) == {"mail": {"id": "health", "to": "auth", "body": "x"}}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("contract.proposed", {}, "no event 'contract.proposed'"),
        ("mail.read", {"id": "x", "mailbox": "human", "eyes": 2}, "MailRead has no field 'eyes'"),
        ("mail.read", {"id": "x"}, "mailbox"),
        ("mail.accepted", {"mail": "health"}, "an object was expected, not str"),
        ("run.starting", {"run": "r", "task": "t", "number": 1, "notes": "n"}, "a list was expected, not str"),
    ],
)
def test_a_record_of_a_newer_agentpool_is_refused(name: str, data: dict[str, object], message: str) -> None:
    """Dropping what it says would lose something."""
    with pytest.raises(TypeError, match=message):
        ev.decode(name, data)


def test_a_value_of_a_newer_agentpool_is_refused() -> None:
    """An unknown word of a list of words is named."""
    with pytest.raises(ValueError, match="weather"):
        ev.decode("pool.held", {"hold": "weather", "reason": "rain"})


def test_three_steps_settle_a_task() -> None:
    """The others go on with it."""
    assert {step for step in ev.Step if step.settles} == {ev.Step.DONE, ev.Step.FAILED, ev.Step.CANCELLED}


def test_a_run_without_a_failure_ended_well() -> None:
    """Whatever else is known of it."""
    assert RunReport(None, "fine").ok
    assert not RunReport(FailureKind.TIMEOUT, "slow").ok


@dataclass(frozen=True, slots=True)
class _Wide:
    either: int | str
    several: list[int]


def test_a_field_of_two_plain_types_is_kept_as_it_is() -> None:
    """There is nothing to decode in it."""
    for value in (_Wide(7, [1]), _Wide("seven", [])):
        assert from_plain(_Wide, json.loads(json.dumps(to_plain(value)))) == value


def test_an_event_says_what_it_is_about() -> None:
    """A log line names the run, task, mail or file that its event is about; the pool itself needs no name."""
    mail = Mail("health", "auth")
    assert ev.subject(ev.RunStarting("health.1", "health", 1)) == "health.1"
    assert ev.subject(ev.CancelRequested("health")) == "health"
    assert ev.subject(ev.MailAccepted(mail)) == "health"
    assert ev.subject(ev.MailRead("health.response", "human")) == "health.response"
    assert ev.subject(ev.PoolStopped("now")) == ""
