"""Times, spans and money as people read and type them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import typer

from agentpool.model.duration import parse_duration

_UNKNOWN = "\N{EN DASH}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def seconds_of(moment: object) -> float | None:
    """Seconds since the epoch of an ISO 8601 text or a number; None where there is none."""
    if isinstance(moment, (int, float)):
        return float(moment)
    if isinstance(moment, str) and moment:
        parsed = datetime.fromisoformat(moment)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return None


def span(seconds: float) -> str:
    """A span in at most two units: `8s`, `4m 10s`, `3h 05m`, `2d 4h`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR}h"


def since(moment: object, *, now: float | None = None) -> str:
    """How long ago a moment was; empty where there is none."""
    at = seconds_of(moment)
    return "" if at is None else span((time.time() if now is None else now) - at)


def local(moment: object) -> str:
    """A moment in the reader's own time zone: the time of a day, with the date where it is not today."""
    at = seconds_of(moment)
    if at is None:
        return ""
    here = time.localtime(at)
    today = time.localtime()
    if (here.tm_year, here.tm_yday) == (today.tm_year, today.tm_yday):
        return time.strftime("%H:%M:%S", here)
    return time.strftime("%Y-%m-%d %H:%M", here)


def dollars(amount: object) -> str:
    """US dollars: to the cent, small amounts to the hundredth of a cent."""
    value = float(amount) if isinstance(amount, (int, float)) else 0.0
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}".rstrip("0").ljust(5, "0")


def dollars_so_far(amount: object) -> str:
    """As `dollars`, or a dash where nothing is known yet: a run tells what it cost at its end."""
    return dollars(amount) if amount else _UNKNOWN


def timeout(text: str | None) -> float | None:
    """The seconds of a `--timeout`: a duration such as `10m`, or a bare number of seconds.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text is None:
        return None
    try:
        return parse_duration(f"{text}s" if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
