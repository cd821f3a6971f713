"""Moments as people write them on the command line."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer

from labmon.errors import UsageError
from labmon.messages import utcnow
from labmon.units import Seconds


def moment(text: str) -> datetime:
    """A date, a date and time, a time of today, or how long ago ("2h", "7d"). Without a zone, this machine's.

    Raises UsageError.
    """
    try:
        if re.fullmatch(r"[\d.]+\s*[smhd]", text.strip()):
            return utcnow() - timedelta(seconds=Seconds.parse(text))
        if re.fullmatch(r"\d\d:\d\d", text.strip()):
            text = f"{date.today()} {text.strip()}"
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f'{text!r} is no time, such as 2026-03-01, "2026-03-01 14:30", 2026-03-01T14:30Z, 14:30 today, '
            "or 2h for two hours ago"
        ) from error


def shown(at: datetime | date) -> str:
    """For tables: this machine's time."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if isinstance(at, datetime) else f"{at}"


From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="TIME", help="From then on: a time, or 2h for two hours ago.", show_default=False
    ),
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until then.", show_default="now")]
