"""Tables as CSV, streamed, with cells that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from usage.forms import plain

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet may run."""


def safe(cell: Any) -> str:
    """A cell as text: money exact and without exponent, instants in ISO 8601, an apostrophe before what could
    be a formula. A number of ours stays a number, a negative one too."""
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return plain(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="minutes")
    if isinstance(cell, int | float):
        return str(cell)
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def lines(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The rows as lines of CSV."""
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow([safe(cell) for cell in row])


def download(request: HttpRequest, name: str, rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """An answer that a browser saves as `name`, in UTF-8."""
    written = lines(rows)
    # Django consumes an iterator of the other kind whole before it sends the first line, and warns.
    return StreamingHttpResponse(
        _awaited(written) if isinstance(request, ASGIRequest) else written,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _awaited(written: Iterator[str]) -> AsyncIterator[str]:
    for line in written:
        yield line
