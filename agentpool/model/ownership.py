"""Whether two runs may write at the same time, by the globs that they own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WILDCARD = re.compile(r"[*?\[]")


def overlap(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether some file may belong to both. Who owns nothing in particular may write anywhere.

    Only the part before the first wildcard is compared, so that a doubt counts as an overlap.
    """
    if not first or not second:
        return True
    return any(a.startswith(b) or b.startswith(a) for a in _fixed(first) for b in _fixed(second))


def _fixed(globs: Iterable[str]) -> list[str]:
    return [_WILDCARD.split(glob.removeprefix("./"), maxsplit=1)[0] for glob in globs]
