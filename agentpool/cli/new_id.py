"""Ids for mail that is sent from the command line: readable, and free with near certainty."""

from __future__ import annotations

import re
import secrets

_WORDS = re.compile(r"[a-z0-9]+")
_LONGEST = 40


def new_id(body: str, addressee: str) -> str:
    """An id from the first words of a mail, such as `where-are-sessions-stored-7f3a`.

    It is made here and not by the supervisor, so that the sender knows it even where nobody serves the pool.

    Args:
        body: the mail's text.
        addressee: stands in where the text has no words in ASCII letters.
    """
    first = next((line for line in body.splitlines() if line.strip()), "")
    slug = ""
    for word in _WORDS.findall(first.lower().replace("'", "")):
        if len(slug) + len(word) >= _LONGEST:
            break
        slug = f"{slug}-{word}" if slug else word
    slug = slug or "-".join(_WORDS.findall(addressee.lower())) or "mail"
    return f"{slug[:_LONGEST]}-{secrets.token_hex(2)}"
