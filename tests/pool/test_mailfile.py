from __future__ import annotations

from datetime import UTC, date, datetime
from time import perf_counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentpool.model.errors import MailError
from agentpool.model.header import KEYS, header_of, mail_from_header
from agentpool.model.mail import Mail
from agentpool.pool.mailfile import HEADER_BYTES, parse, render


def _file(header: str, body: str = "do it") -> bytes:
    return f"---\n{header}\n---\n{body}\n".encode()


def _refusal(data: bytes) -> str:
    begin = perf_counter()
    with pytest.raises(MailError) as caught:
        parse(data)
    assert perf_counter() - begin < 2.0
    assert len(caught.value.message) < 1_000
    return caught.value.message


def test_a_header_and_a_text() -> None:
    """The usual mail."""
    assert parse(_file("to: auth\ndepends-on: [a, b]\nmood: 3")) == (
        {"to": "auth", "depends-on": ["a", "b"], "mood": 3},
        "do it",
    )


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"Why is login slow?\n", "Why is login slow?"),
        (b"", ""),
        (b"\n\n# Title\n\ntext\n\n", "# Title\n\ntext"),
        (b"\n---\nto: auth\n---\n", "---\nto: auth\n---"),
        (b"--- \nx", None),
        (b"---", "---"),
        (b"----\nx\n----\n", "----\nx\n----"),
        (b"---x\n---\n", "---x\n---"),
        ("grüße, 日本 🎉".encode(), "grüße, 日本 🎉"),
    ],
)
def test_a_file_without_a_header_is_all_text(data: bytes, body: str | None) -> None:
    """Only a first line of three dashes opens a header."""
    if body is None:
        assert "has no end" in _refusal(data)
    else:
        assert parse(data) == ({}, body)


@pytest.mark.parametrize("header", ["", "\n", "# only a comment\n"])
def test_an_empty_header_is_none(header: str) -> None:
    """Fences with nothing between them."""
    assert parse(f"---\n{header}---\ntext".encode()) == ({}, "text")


def test_fences_may_be_followed_by_blanks() -> None:
    """Nobody sees them."""
    assert parse(b"---  \t\nto: auth\n--- \ntext") == ({"to": "auth"}, "text")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_are_those_of_any_system(end: str) -> None:
    """In the text they become line feeds; a lone CR opens no header, as it never did."""
    text = end.join(["a", "", "b", ""])
    assert parse(text.encode()) == ({}, "a\n\nb")
    if end != "\r":
        assert parse(end.join(["---", "to: auth", "---", "", text]).encode()) == ({"to": "auth"}, "a\n\nb")


def test_a_text_may_hold_fences() -> None:
    """The second one ends the header; all others are rules of the text."""
    assert parse(_file("to: auth", "a\n---\nb: c\n---\nd")) == ({"to": "auth"}, "a\n---\nb: c\n---\nd")


@pytest.mark.parametrize("text", ["---\n\n# Title\n\nWhy?", "---\n  \r\nWhy?", "---\n\nto: auth"])
def test_a_text_may_begin_with_a_rule(text: str) -> None:
    """Three dashes with an empty line below and no second fence are a rule of Markdown, not a header."""
    assert parse(text.encode()) == ({}, text.replace("\r\n", "\n"))


def test_a_header_may_begin_with_an_empty_line() -> None:
    """Where it is closed and holds keys: dropping them would start a task too early."""
    assert parse(b"---\n\ndepends-on: a\n---\ntext") == ({"depends-on": "a"}, "text")


def test_a_rule_that_looks_like_a_header_is_refused_with_the_way_out() -> None:
    """Two rules around a text cannot be told from a header that went wrong."""
    reason = _refusal(b"---\n\nSome words\n\n---\nmore")
    assert "single value" in reason
    assert "put an empty line above it" in reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("---\nto: a\n---\nx".encode("utf-16"), "UTF-16: save it as UTF-8"),
        (b"\xfe\xff\x00x", "UTF-16: save it as UTF-8"),
        ("---\nto: a\n---\nx".encode("utf-16-le"), "NUL byte at offset 1"),
        ("x".encode("utf-32"), "UTF-16"),
        (b"\xef\xbb\xbf---\nto: a\n---\nx", "byte order mark"),
        (b"text with \0 in it", "NUL byte at offset 10: it is no text"),
        ("für".encode("latin-1"), "its text is not UTF-8 (byte 0xfc at offset 1)"),
        (b"---\nfrom: J\xf6rg\n---\nx", "its header is not UTF-8 (byte 0xf6 at offset 7)"),
        (b"\xed\xa0\x80", "its text is not UTF-8"),
        (b"---\nto: auth\n\ntext", "its header has no end: close it with a line `---`"),
        (b"---\n", "its header has no end"),
        (_file("- a\n- b\n- a"), "its header is a list: it must be lines of `key: value`"),
        (_file("just words"), "its header is a single value"),
        (_file("42"), "its header is a single value"),
        (_file("to: a\nid: x\nto: b"), "the key `to` twice: which one counts?"),
        (_file("depends-on: a\ndepends_on: b"), "the key `depends_on` twice"),
        (_file("To: a\nto: b"), "the key `to` twice"),
        (_file("'to': a\n\"to\": b"), "the key `to` twice"),
        (_file("a: {to: x}\nb: [1, 2]\na: 2"), "the key `a` twice"),
        (_file("a: &x 1"), "anchors or aliases"),
        (_file("a: *x"), "anchors or aliases"),
        (_file("&x a: 1"), "anchors or aliases"),
        (_file("a: &x [*x]"), "anchors or aliases"),
        (_file("<<: {to: b}\nid: c"), "merge key"),
        (_file("a: !!python/object/apply:os.system [ls]"), "YAML tags"),
        (_file("a: !!timestamp soon"), "YAML tags"),
        (_file("a: !!int ''"), "YAML tags"),
        (_file("a: !!bool maybe"), "YAML tags"),
        (_file("a: ! x"), "YAML tags"),
        (_file("no: 5"), "a key that YAML reads as False, not as text: put it in quotes"),
        (_file("null: 5"), "reads as None"),
        (_file("7: 5"), "reads as 7"),
        (_file("2026-11-21: 5"), "reads as datetime.date(2026, 11, 21)"),
        (_file("? [a]\n: b"), "not valid YAML"),
        (_file("to: @auth"), "not valid YAML"),
        (_file("to: a: b"), "not valid YAML"),
        (_file("to: [a"), "not valid YAML"),
        (_file("\tto: a"), "not valid YAML"),
        (_file("to: a\n--- x\nto: b"), "not valid YAML"),
        (_file("to: \x1b[2J"), "not valid YAML"),
        (_file("a: ="), "not valid YAML"),
        (_file("a: 2026-13-45"), "not valid YAML: month must be in 1..12"),
        (_file("a: " + "9" * 5_000), "not valid YAML"),
        (_file('a: "\\ud800"'), "not valid YAML"),
        (_file("%YAML 9.9"), "not valid YAML"),
    ],
)
def test_a_file_that_is_no_mail_is_refused(data: bytes, reason: str) -> None:
    """With a reason for the one who wrote it, and what to do about it."""
    assert reason in _refusal(data)


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "- ? ", "{a: [", "[{a: "])
@pytest.mark.parametrize("times", [9, 1_000, 30_000])
def test_a_deeply_nested_header_is_refused(opening: str, times: int) -> None:
    """Before anything that could overflow a stack sees it."""
    reason = _refusal(_file(opening * times))
    assert "nested deeper than 8" in reason or "over 16384 bytes" in reason


def test_nested_blocks_are_counted_too() -> None:
    """Indentation nests as brackets do."""
    deep = "\n".join("  " * level + "- a:" for level in range(60))
    assert "nested deeper than 8" in _refusal(_file("x:\n" + deep))


def test_a_short_list_in_a_table_is_no_trick() -> None:
    """Eight levels are enough for anybody's tools."""
    assert parse(_file("a: [[[[[[[1]]]]]]]"))[0] == {"a": [[[[[[[1]]]]]]]}


@pytest.mark.parametrize(("over", "refused"), [(0, False), (1, True), (20_000, True)])
def test_a_header_has_a_limit(over: int, refused: bool) -> None:  # noqa: FBT001 - a parameter
    """To the byte, whatever lies around it."""
    header = "a: " + "b" * (HEADER_BYTES - 4 + over)
    if refused:
        assert _refusal(_file(header)) == "its header is over 16384 bytes: put the text below the second `---`"
    else:
        assert parse(_file(header))[0]["a"] == header[3:]


def test_the_limit_of_a_header_can_be_set() -> None:
    """By the pool's configuration."""
    with pytest.raises(MailError, match="over 10 bytes"):
        parse(_file("a: bcdefghij"), header_bytes=10)


@pytest.mark.parametrize("over", range(12))
def test_a_line_at_the_limit_is_not_mistaken_for_a_fence(over: int) -> None:
    """`---foo` is none, wherever the limit cuts it."""
    header = "a: " + "b" * (HEADER_BYTES - 8 + over) + "\n---foo"
    assert "16384 bytes" in _refusal(_file(header)) or "not valid YAML" in _refusal(_file(header))


@pytest.mark.parametrize("data", [b"x" * 10_000_000, b"\n" * 10_000_000, b"\r\n-" * 3_300_000])
def test_ten_megabytes_of_text_are_read(data: bytes) -> None:
    """How much mail may be is for the intake to say; reading it takes no time to speak of."""
    begin = perf_counter()
    assert parse(data)[0] == {}
    assert perf_counter() - begin < 5.0


@pytest.mark.parametrize("data", [b"---\n" + b"-" * 10_000_000, b"---\nx" + b"--\n" * 3_300_000])
def test_ten_megabytes_of_dashes_are_refused(data: bytes) -> None:
    """In a blink."""
    assert "has no end" in _refusal(data)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("007", "007"),
        ("1e3", "1e3"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("+5", "+5"),
        ("1.10", "1.10"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("7", 7),
        ("-7", -7),
        ("1.5", 1.5),
        ("true", True),
        ("~", None),
        ("2026-11-21", date(2026, 11, 21)),
        ("2026-11-21T10:00:00Z", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("'7'", "7"),
        ("*", None),
    ],
)
def test_values_are_read_as_they_were_written(written: str, read: object) -> None:
    """A number stays text where reading it would change it: an id `007` is not `7`."""
    if written == "*":
        assert "not valid YAML" in _refusal(_file(f"id: {written}"))
    else:
        assert parse(_file(f"id: {written}"))[0] == {"id": read}


@pytest.mark.parametrize(
    ("line", "mail_id"), [("id: 007", "007"), ("id: 1e3", "1e3"), ("id: 7", "7"), ("x: 1", "drop")]
)
def test_an_id_is_the_text_of_its_line(line: str, mail_id: str) -> None:
    """From the file to the mail."""
    header, body = parse(_file(line))
    assert mail_from_header(header, body, default_id="drop", now=0.0, default_to="auth").id == mail_id


def test_a_rendered_mail_is_read_by_people() -> None:
    """Its header in order, its letters as they are, its text below an empty line."""
    mail = Mail("a", "auth", sender="Jörg", depends_on=("b",), body="# Grüße\n")
    assert render(header_of(mail), mail.body) == (
        "---\nid: a\nfrom: Jörg\nto: auth\ntype: task\ndepends-on:\n- b\n---\n\n# Grüße\n"
    )


_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(
        ["---", "a\n---\nb", "007", "1e3", "no", "~", "=", "<<", "*a", "&a", "!x", "2026-11-21", "12:30"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_LINE, inner, max_size=3),
    max_leaves=5,
)
_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
_HEADER = st.fixed_dictionaries(
    {"to": _IDS},
    optional={
        "id": _IDS,
        "from": st.text(max_size=20),
        "type": st.sampled_from(["task", "notify", "response"]),
        "priority": st.sampled_from(["low", "high"]),
        "depends-on": st.lists(_IDS, max_size=3),
        "inputs": st.lists(_IDS | st.integers(0, 99), max_size=3),
        "thread": _IDS,
        "expires": st.sampled_from(["2h", "2026-12-24", "2026-12-24T18:00Z"]),
        "timestamp": st.sampled_from(["2026-12-24", "2026-12-24T18:00:00Z", "12:30", "yesterday"]),
        "x-note": _VALUE,
        "y": _VALUE,
        "---": _VALUE,
        "no": _VALUE,
        "007": _VALUE,
    },
)


@given(_HEADER, _LINE | st.lists(_LINE, max_size=4).map("\n".join))
@example({"to": "a", "x-note": "a\n---\nb"}, "---\nx\n---")
@example({"to": "a", "timestamp": "2026-12-24"}, " \u2028x\x85 ")
@example({"to": "a"}, "a\r\r\nb\r")
def test_every_mail_comes_back_from_its_file(header: dict[str, Any], body: str) -> None:
    """Rendered, parsed and read again it is the same mail, but for the line ends around its text."""
    try:
        mail = mail_from_header(header, body, default_id="drop", now=1_800_000_000.0)
    except MailError:
        return
    data = render(header_of(mail), mail.body).encode()
    again, text = parse(data, header_bytes=10**6)
    assert mail_from_header(again, text, default_id="other", now=0.0) == mail_from_header(
        header_of(mail), body.replace("\r\n", "\n").replace("\r", "\n").strip("\n"), default_id="drop", now=0.0
    )
    assert render(again, text).encode() == data


def test_half_a_character_in_a_header_is_written_as_its_escape() -> None:
    """The name of a file that is no UTF-8 can stand in a header, which stays readable."""
    data = render({"dropped-as": "postoffice/caf\udce9.md", "to": "caf\u00e9"}, "text").encode()
    assert parse(data) == ({"dropped-as": "postoffice/caf\\udce9.md", "to": "caf\u00e9"}, "text")


_PIECES = st.sampled_from(
    [*KEYS, ": ", ":", "\n", "- ", "---", "\r\n", "[", "]", "{", "}", ",", "&a", "*a", "!!int", "!!set", "!", "|", ">",
     "'", '"', "#", "%", "? ", "<<", "~", "2026-11-21", "0x", "1:2", "=", " ", "\t", "\ufeff", "\x85", "\x1b"]
)  # fmt: skip


@given(
    st.binary(max_size=60)
    | st.lists(_PIECES | st.text(max_size=3), max_size=12).map(lambda p: "".join(p).encode(errors="ignore"))
)
def test_any_bytes_are_a_mail_or_refused_with_a_reason(data: bytes) -> None:
    """Nothing else happens, whatever a file holds."""
    reasons: list[str] = []
    for file in (data, b"---\n" + data + b"\n---\ntext"):
        try:
            header, body = parse(file)
            mail_from_header(header, body, default_id="drop", now=0.0, default_to="auth")
        except MailError as error:
            reasons.append(error.message)
    assert all(reasons)
