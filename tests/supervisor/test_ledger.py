"""The journal and the board as one, when somebody cuts the journal under them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.mail import Mail
from agentpool.supervisor import ledger as module
from agentpool.supervisor.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_texts_of_a_cut_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts in memory outlive the cut, also over two starts; one that is gone is not there, and breaks nothing."""
    monkeypatch.setattr(module, "_TEXTS", 1)
    journal = tmp_path / "journal"

    async def live() -> None:
        ledger, _ = Ledger.open(journal, 0)
        for name in ("gone", "kept"):
            await ledger.commit([ev.MailAccepted(Mail(name, "a", body=f"words of {name}"))], 1.0)
        [segment] = journal.glob("segment-*.jsonl")
        os.truncate(segment, segment.stat().st_size // 3)
        await ledger.commit([ev.MailAccepted(Mail("new", "a", body="words of new"))], 2.0)
        for start in range(3):
            assert [ledger.mail(name) is not None for name in ("gone", "kept", "new")] == [False, True, True]
            assert list(ledger.board.tasks) == ["gone", "kept", "new"]
            await ledger.write_snapshot(3.0 + start, 0.0)
            ledger.close()
            ledger, _ = Ledger.open(journal, 0)
        kept = ledger.mail("kept")
        assert kept is not None
        assert kept.body == "words of kept"
        ledger.close()

    asyncio.run(live())
