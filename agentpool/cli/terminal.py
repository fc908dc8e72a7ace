"""Text for people: what a terminal may be given, how wide it is, colours and tables.

Names, subjects and answers come from mail and from agents. Whatever could steer a terminal is taken out of them before
they are printed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_COLOURS = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
#: Control characters other than tab and line feed, both directions' overrides, and lone surrogates.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ENDINGS = re.compile(r"\r\n?")
_WIDEST = 200


def printable(text: str) -> str:
    """The same text with every character that could steer a terminal made visible as `�`."""
    return _STEERING.sub("�", _ENDINGS.sub("\n", text))


def one_line(text: str) -> str:
    """`printable`, on one line."""
    return printable(" ".join(text.split()))


def counted(number: float, noun: str) -> str:
    """How many there are of something: `1 turn`, `2 turns`."""
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person sees what is written to the stream (standard output by default)."""
    return (sys.stdout if stream is None else stream).isatty()


def style(text: str, name: str, stream: TextIO | None = None) -> str:
    """The text in a colour, or as it is where the stream is no terminal or `NO_COLOR` is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return text
    return f"\033[{_COLOURS[name]}m{text}\033[0m"


def columns() -> int:
    """Columns of the terminal; where the output is piped, so many that nothing is cut."""
    return shutil.get_terminal_size((_WIDEST, 50)).columns if is_terminal() else _WIDEST


def width(text: str) -> int:
    """The columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def clip(text: str, most: int) -> str:
    """The text in at most so many columns; `…` stands for what was cut."""
    if width(text) <= most:
        return text
    kept = []
    left = most - 1
    for character in text:
        left -= width(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + "…" if most > 0 else ""


def table(rows: Iterable[Sequence[str]], *, indent: str = "", gap: str = "  ", total: int | None = None) -> list[str]:
    """Lines in which the columns of the rows stand below each other; the last column gets what is left, and is cut.

    Args:
        rows: cells of plain text, all rows of the same length.
        indent: put before each line.
        gap: put between two cells.
        total: columns of a line at most; None means those of the terminal.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(width(row[index]) for row in cells) for index in range(len(cells[0]))]
    room = (columns() if total is None else total) - len(indent) - sum(widths[:-1]) - len(gap) * (len(widths) - 1)
    widths[-1] = max(min(widths[-1], room), 8)
    lines = []
    for row in cells:
        parts = [
            clip(cell, size) + " " * (size - width(clip(cell, size))) for cell, size in zip(row, widths, strict=True)
        ]
        lines.append((indent + gap.join(parts)).rstrip())
    return lines
