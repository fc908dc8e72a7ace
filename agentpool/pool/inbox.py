"""An inbox of people: the mail that waits there to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model.errors import MailError
from agentpool.model.mail import Mail
from agentpool.pool.mailfile import parse

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout


def list_inbox(layout: Layout, mailbox: str) -> list[dict[str, object]]:
    """The unread mail of `human` or `concierge`, the oldest first.

    Each has `id, from, type, status, in_reply_to, subject, at, body, file`.

    Raises:
        OSError: the inbox cannot be read.
    """
    files = [file for file in layout.inbox(mailbox).glob("*.md") if not file.name.startswith(".") and file.is_file()]
    found = []
    for file in sorted(files, key=lambda each: (each.stat().st_mtime_ns, each.name)):
        try:
            header, body = parse(file.read_bytes())
        except MailError:
            header, body = {}, file.read_text(encoding="utf-8", errors="replace")
        found.append(
            {
                "id": file.name.removesuffix(".md"),
                "from": header.get("from"),
                "type": header.get("type"),
                "status": header.get("status"),
                "in_reply_to": header.get("in-reply-to"),
                "subject": Mail("", "", body=body).subject,
                "at": str(header["timestamp"]) if "timestamp" in header else None,
                "body": body,
                "file": str(file.relative_to(layout.root)),
            }
        )
    return found
