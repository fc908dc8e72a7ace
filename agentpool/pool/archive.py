"""`archive/`: settled mail by month, which outlives the journal's memory of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout


def is_archived(layout: Layout, mail_id: str) -> bool:
    """Whether a mail of this id was settled in any month, so that the id is taken for good.

    Costs one look for each month.
    """
    try:
        with os.scandir(layout.archive) as months:
            return any(os.path.lexists(f"{month.path}/{mail_id}.md") for month in months)
    except FileNotFoundError:
        return False
