from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool.model.errors import MailError, UsageError
from agentpool.model.names import (
    ID_LENGTH,
    NAME_LENGTH,
    check_id,
    check_name,
    id_from_file_name,
    nearest,
    response_id,
    task_of,
)

_HOSTILE = [
    "", " ", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", ".hidden", "-rf", "_x", "a b", "a\nb", "a\n",
    "a\0b", "a:b", "ä", "\u0430", "\u0663", "a\u202eb", "~", "$HOME", "x" * (ID_LENGTH + 1), "%2e%2e", "a*",
]  # fmt: skip


@pytest.mark.parametrize("value", _HOSTILE)
def test_what_is_no_safe_path_component_is_no_id(value: str) -> None:
    """The reason is one printable line of ASCII, however hostile the id."""
    with pytest.raises(MailError) as caught:
        check_id(value)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1_000


@pytest.mark.parametrize("value", ["a", "7", "health", "Auth-2", "v1.2_x", "a..b", "x" * ID_LENGTH, "con", "response"])
def test_a_safe_id_is_itself(value: str) -> None:
    """Letters, digits, and '.', '_', '-' behind the first."""
    assert check_id(value) == value


@pytest.mark.parametrize(
    "value", ["a.response", "a.response-2", "a.RESPONSE", "a.md", "a.Md", "a.reason", "a.response-007"]
)
def test_the_pools_own_endings_are_no_ids(value: str) -> None:
    """A drop cannot take the name of an answer that is still to come."""
    with pytest.raises(MailError, match="the pool keeps the endings"):
        check_id(value)


@pytest.mark.parametrize("value", ["../auth", "", ".auth", "a/b", "x" * (NAME_LENGTH + 1), "a\n"])
def test_a_name_of_an_expert_is_one_path_component(value: str) -> None:
    """People hear of it when they configure one."""
    with pytest.raises(UsageError, match="cannot name an expert"):
        check_name(value)


def test_a_good_name_is_itself() -> None:
    """The longest allowed one too."""
    assert check_name("auth") == "auth"
    assert check_name("x" * NAME_LENGTH) == "x" * NAME_LENGTH


@given(st.one_of(st.text(max_size=300), st.sampled_from(_HOSTILE), st.from_regex(r"[a.]+(\.md|\.response(-\d)?)*")))
def test_every_file_name_makes_a_safe_id(name: str) -> None:
    """Whatever a file is called."""
    assert check_id(id_from_file_name(name + ".md"))


@pytest.mark.parametrize(
    ("name", "mail_id"),
    [
        ("health.md", "health"),
        ("Wie geht's.md", "Wie-geht-s"),
        ("Größe.md", "Groe"),
        ("café-2.md", "cafe-2"),
        ("日本.md", "mail"),
        ("---.md", "mail"),
        ("x.md.md", "x-md"),
        ("a.response.md", "a-response"),
        ("a.response-2.md", "a-response-2"),
        ("../../etc/passwd.md", "etc-passwd"),
        ("no ending", "no-ending"),
        ("a" * 79 + "..b.md", "a" * 79),
    ],
)
def test_an_id_looks_like_its_file_name(name: str, mail_id: str) -> None:
    """What cannot be in an id becomes a dash or goes."""
    assert id_from_file_name(name) == mail_id


def test_each_settlement_has_a_response_id() -> None:
    """The first without a number; and back to the task."""
    assert [response_id("health", number) for number in (1, 2, 11)] == [
        "health.response", "health.response-2", "health.response-11",
    ]  # fmt: skip
    assert {task_of(response_id("health", number)) for number in (1, 2, 11)} == {"health"}
    assert task_of("health") == "health"


@pytest.mark.parametrize(("name", "meant"), [("aut", "auth"), ("AUTH", "auth"), ("fronted", "frontend"), ("xyz", None)])
def test_a_mistyped_name_is_recognised(name: str, meant: str | None) -> None:
    """Where one is near."""
    assert nearest(name, ["auth", "frontend", "human"]) == meant
