from __future__ import annotations

import pytest

from agentpool.model.ownership import overlap


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (["src/auth/**"], ["src/billing/**"], False),
        (["src/**"], ["src/billing/**"], True),
        (["./src/auth/*.py"], ["src/auth/x.md"], True),
        (["src/auth/", "docs/"], ["web/", "docs/auth.md"], True),
        (["**/*.py"], ["web/"], True),
        ([], ["web/"], True),
        (["web/"], [], True),
    ],
)
def test_globs_overlap_where_some_file_may_belong_to_both(
    first: list[str],
    second: list[str],
    expected: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A doubt counts as an overlap, and who owns nothing in particular may write anywhere."""
    assert overlap(first, second) is expected
    assert overlap(second, first) is expected
