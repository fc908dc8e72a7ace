from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentpool.model.errors import MailError
from agentpool.model.header import KEYS, header_of, mail_from_header
from agentpool.model.mail import Mail, MailType, Priority, Status, sent_by_run
from agentpool.model.moment import iso

_NOW = 1_800_000_000.0


def _read(header: dict[str, Any], body: str = "do it", default_to: str | None = "auth") -> Mail:
    return mail_from_header(header, body, default_id="drop", now=_NOW, default_to=default_to)


def _refusal(header: dict[str, Any], body: str = "do it", default_to: str | None = "auth") -> str:
    with pytest.raises(MailError) as caught:
        _read(header, body, default_to)
    return caught.value.message


def test_a_text_without_a_header_is_a_task_from_a_person() -> None:
    """Its id comes from its file, its addressee from the inbox."""
    assert _read({}) == Mail("drop", "auth", MailType.TASK, "human", body="do it")


def test_every_key_is_read() -> None:
    """Under its own name."""
    mail = _read(
        {
            "id": "login-2",
            "from": "architect",
            "to": "backend",
            "type": "question",
            "priority": "urgent",
            "status": "needs-input",
            "in-reply-to": "login.response-2",
            "thread": "login",
            "depends-on": ["a", "b", "a"],
            "inputs": "c",
            "contracts": ["api"],
            "cancels": "old",
            "expires": "2h",
            "timestamp": "2026-11-21T10:00:00Z",
            "mood": "good",
        }
    )
    assert mail == Mail(
        "login-2",
        "backend",
        MailType.QUESTION,
        "architect",
        Priority.URGENT,
        ("a", "b"),
        ("api",),
        "login.response-2",
        "login",
        ("c",),
        "old",
        Status.NEEDS_INPUT,
        _NOW + 7_200,
        "2026-11-21T10:00:00Z",
        extra={"mood": "good"},
        body="do it",
    )
    assert mail.awaited == ("a", "b", "c")


@pytest.mark.parametrize("key", ["depends_on", "Depends-On", "DEPENDS_ON"])
def test_keys_are_read_in_any_spelling_of_their_case_and_dashes(key: str) -> None:
    """People and models write them all."""
    assert _read({key: "a"}).depends_on == ("a",)


def test_words_are_read_in_any_case() -> None:
    """`Type: Task` is no mistake."""
    mail = _read({"Type": "Question", "priority": "HIGH"})
    assert (mail.type, mail.priority) == (MailType.QUESTION, Priority.HIGH)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "to"])
def test_an_empty_value_is_none(key: str) -> None:
    """As if the line were not there."""
    assert _read({key: None}) == _read({})


def test_an_empty_text_is_none() -> None:
    """Also where it is quoted."""
    assert _read({"id": "", "thread": "  ", "to": ""}) == _read({})


def test_numbers_are_ids_too() -> None:
    """`id: 42` need not be quoted."""
    mail = _read({"id": 42, "depends-on": [7, "8"]})
    assert (mail.id, mail.depends_on) == ("42", ("7", "8"))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"to": ["auth", "billing"]}, "`to` must be one text, not a list: put it in quotes if it is one"),
        ({"id": {"a": 1}}, "`id` must be one text, not a table"),
        ({"id": 1.5}, "`id` must be one text, not a fraction"),
        ({"id": True}, "`id` must be one text, not a yes/no"),
        ({"id": date(2026, 11, 21)}, "`id` must be one text, not a date"),
        ({"id": "../../etc/passwd"}, "`id`: the id '../../etc/passwd' is not allowed"),
        ({"id": "x.response"}, "the pool keeps the endings"),
        ({"thread": "a b"}, "`thread`: the id 'a b' is not allowed"),
        ({"cancels": "/"}, "`cancels`: the id '/' is not allowed"),
        ({"in-reply-to": "../x.response"}, "`in-reply-to`: the id '../x' is not allowed"),
        ({"depends-on": ["ok", "a/b"]}, "`depends-on`: the id 'a/b' is not allowed"),
        ({"depends-on": ["ok", None]}, "`depends-on` must be a list of ids; nothing is none"),
        ({"depends-on": {"a": 1}}, "`depends-on` must be a list of ids; a table is none"),
        ({"depends-on": True}, "`depends-on` must be a list of ids; a yes/no is none"),
        ({"depends-on": "a, b"}, "the id 'a, b' is not allowed"),
        ({"inputs": [["a"]]}, "`inputs` must be a list of ids; a list is none"),
        ({"contracts": ""}, "`contracts`: the id '' is not allowed"),
        (
            {"type": "taks"},
            "`type: taks` is not one of task, question, response, notify, handoff, cancel: did you mean",
        ),
        ({"priority": "asap"}, "`priority: asap` is not one of low, normal, high, urgent"),
        ({"status": "finished"}, "`status: finished` is not one of done, failed, blocked, needs-input"),
        ({"type": "cancel"}, "a cancel names no task: add a line `cancels: ID`"),
        ({"id": "a", "inputs": ["a"]}, "it waits for itself (a)"),
        ({"depends-on": "drop"}, "it waits for itself (drop)"),
        ({"from": "\x1b[2Jarchitect"}, "`from` must be one printable line"),
        ({"to": "a\nb"}, "`to` must be one printable line"),
        ({"timestamp": "x" * 201}, "`timestamp` must be one printable line of at most 200 characters"),
        ({"timestamp": ["now"]}, "`timestamp` must be one text, not a list"),
        ({"depends-on": "a", "depends_on": "b"}, "it has the key `depends-on` twice"),
        ({"x\x1by": 1}, "the key 'x\\x1by' is not printable"),
        ({"note": "\ud800"}, "`note` has half a character (a lone surrogate) at offset 0"),
        ({"note": {"\udfff": 1}}, "`note` has half a character"),
        ({"note": [[[[[[[[1]]]]]]]]}, "`note` is nested deeper than 8"),
        ({"note": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}}}, "`note` is nested deeper than 8"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused(header: dict[str, Any], reason: str) -> None:
    """The reason names the key, the value and the rule."""
    assert reason in _refusal(header)


def test_all_broken_rules_are_named_at_once() -> None:
    """A sender mends a mail once, not five times."""
    reason = _refusal({"id": "/", "type": "x", "depends-on": [None]}, default_to=None)
    assert reason.count(";") >= 4
    for part in ("`id`", "`type: x`", "`depends-on`", "it names no addressee: add a line `to: NAME`"):
        assert part in reason


@pytest.mark.parametrize("kind", ["task", "question"])
def test_work_needs_a_text(kind: str) -> None:
    """There is nothing to do otherwise."""
    assert "so there is nothing to do" in _refusal({"type": kind}, body=" \n\t\n")


@pytest.mark.parametrize("kind", ["notify", "response", "handoff"])
def test_other_mail_may_be_empty(kind: str) -> None:
    """Its header says enough."""
    assert _read({"type": kind}, body="").type == kind


@pytest.mark.parametrize(("body", "reason"), [("a\0b", "NUL character at offset 1"), ("ab\ud800", "at offset 2")])
def test_a_text_that_no_file_can_hold_is_refused(body: str, reason: str) -> None:
    """It can only come as JSON, and would end the supervisor when it writes it."""
    assert reason in _refusal({}, body=body)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("depend-on", "depends-on"),
        ("depend_on", "depends-on"),
        ("dependson", "depends-on"),
        ("depends", "depends-on"),
        ("depends on", "depends-on"),
        ("dependencies", "depends-on"),
        ("input", "inputs"),
        ("contract", "contracts"),
        ("reply-to", "in-reply-to"),
        ("priorty", "priority"),
        ("Expire", "expires"),
        ("cancel", "cancels"),
        ("threads", "thread"),
    ],
)
def test_a_misspelled_key_is_refused(key: str, meant: str) -> None:
    """Kept as unknown, it would start a task too early or do nothing."""
    assert f"unknown key `{key}`: did you mean `{meant}`?" in _refusal({key: "x"})


@pytest.mark.parametrize(
    "key",
    ["author", "title", "tags", "labels", "date", "project", "repo", "due", "cc", "model", "uid", "ids", "parent"],
)
def test_an_unknown_key_is_kept(key: str) -> None:
    """As it came: other tools may read it. It never means anything to the pool."""
    mail = _read({key: [1, "two", None]})
    assert mail.extra == {key: [1, "two", None]}
    assert (mail.parent, mail.hops) == (None, 0)


def test_unknown_values_are_kept_as_json_can_hold_them() -> None:
    """Dates and what is no finite number become text; the rest stays what it is."""
    extra = {"a": date(2026, 1, 2), "b": float("nan"), "c": 1.5, "d": True, "e": {1: [b"x"]}, "f": float("inf")}
    kept = {"a": "2026-01-02", "b": "nan", "c": 1.5, "d": True, "e": {"1": ["b'x'"]}, "f": "inf"}
    assert _read(extra).extra == kept


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90s", _NOW + 90),
        ("5m", _NOW + 300),
        (" 2 h ", _NOW + 7_200),
        ("3d", _NOW + 259_200),
        ("0h", _NOW),
        ("2026-12-24T18:00Z", 1_798_135_200.0),
        ("2026-12-24T19:00+01:00", 1_798_135_200.0),
        ("2026-12-24 18:00", 1_798_135_200.0),
        (datetime(2026, 12, 24, 18, tzinfo=UTC), 1_798_135_200.0),
        (datetime(2026, 12, 24, 18), 1_798_135_200.0),  # noqa: DTZ001 - as YAML gives it
        (datetime(2026, 12, 24, 19, tzinfo=timezone(timedelta(hours=1))), 1_798_135_200.0),
        ("2026-12-24", 1_798_156_800.0),
        (date(2026, 12, 24), 1_798_156_800.0),
        (None, None),
    ],
)
def test_an_expiry_is_a_moment_or_a_duration(value: object, seconds: float | None) -> None:
    """Without a zone it is UTC; a day lasts until its end, quoted or not."""
    assert _read({"expires": value}).expires == seconds


@pytest.mark.parametrize(
    "value",
    [
        3600, 1.5, True, ["2h"], "soon", "2 hours", "-1h", "", "1h30", "2026-13-01", "24:00", "9" * 5_000 + "d",
        "999999999999999d", "1" + "0" * 400 + "s", "9999-12-31", date(9999, 12, 31), "0001-01-01T00:00+05:00",
    ],
)  # fmt: skip
def test_what_is_no_expiry_is_refused(value: object) -> None:
    """Also what a calendar has no place for: it could not be written down again."""
    assert "`expires` must be a moment such as 2026-12-24T18:00Z or a duration" in _refusal({"expires": value})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 21, 10, tzinfo=UTC), "2026-11-21T10:00:00+00:00"),
        (date(2026, 11, 21), "2026-11-21"),
        ("yesterday", "yesterday"),
        (None, None),
    ],
)
def test_a_timestamp_is_only_kept(value: object, text: str | None) -> None:
    """The pool's own clock counts."""
    assert _read({"timestamp": value}).timestamp == text


def test_a_header_cannot_claim_what_only_a_run_has() -> None:
    """Sender, parent, thread and hops of a run's mail come from its run."""
    mail = _read({"from": "architect", "thread": "other", "parent": "x", "hops": 0})
    sent = sent_by_run(mail, sender="auth", parent="login", thread="t", hops=3)
    assert (sent.sender, sent.parent, sent.thread, sent.hops) == ("auth", "login", "t", 3)


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ("\n\n## Add *health*  \nmore", "Add *health*"),
        ("###\n---\n", "---"),
        ("\x1b[31mred\x1b[0m alert\x07", "[31mred[0m alert"),
        ("", ""),
        (" \n\t", ""),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
    ],
)
def test_a_subject_is_the_first_line_that_says_something(body: str, subject: str) -> None:
    """Printable and short: it stands in lists on a terminal."""
    assert Mail("a", "b", body=body).subject == subject


def test_a_header_is_written_in_its_order_without_what_is_usual() -> None:
    """A reader finds the important keys first; unknown ones follow as they came, empty ones too."""
    mail = _read({"zeta": None, "alpha": [], "depends-on": ["b", "a"], "priority": "high", "expires": "1h"})
    assert list(header_of(mail).items()) == [
        ("id", "drop"),
        ("from", "human"),
        ("to", "auth"),
        ("type", "task"),
        ("priority", "high"),
        ("depends-on", ["b", "a"]),
        ("expires", iso(_NOW + 3_600)),
        ("zeta", None),
        ("alpha", []),
    ]


def test_a_response_is_written_with_its_status() -> None:
    """And whom it answers."""
    mail = Mail("a.response", "human", MailType.RESPONSE, "auth", in_reply_to="a", status=Status.DONE, body="done")
    assert {"status": "done", "in-reply-to": "a"}.items() <= header_of(mail).items()


@pytest.mark.parametrize(("at", "text"), [(0.9, "1970-01-01T00:00:00Z"), (-62135596800.0, "0001-01-01T00:00:00Z")])
def test_moments_are_written_in_utc_to_the_second(at: float, text: str) -> None:
    """With four digits of the year, so that they can be read again."""
    assert iso(at) == text


def test_priorities_are_head_starts() -> None:
    """In seconds: an hour, four hours, and four hours to wait."""
    assert [priority.head_start for priority in Priority] == [-14_400, 0, 3_600, 14_400]


_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=5)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEY = st.sampled_from(KEYS) | st.text(max_size=12) | st.sampled_from(["depends_on", "To", "EXPIRES"])


@given(st.dictionaries(_KEY, _VALUE, max_size=6), st.text())
@example({"expires": date.max}, "x")
@example({"expires": datetime.min}, "x")  # noqa: DTZ901 - as YAML gives it
def test_any_header_is_read_or_refused_with_a_reason(header: dict[str, Any], body: str) -> None:
    """Nothing else happens, whatever it holds; what is read can be written and read again."""
    try:
        mail = _read(header, body)
    except MailError:
        return
    again = mail_from_header(header_of(mail), mail.body, default_id="other", now=0.0)
    assert header_of(again) == header_of(mail)
