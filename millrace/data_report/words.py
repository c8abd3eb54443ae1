"""Numbers, shares, times and tables as the page writes them. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

MINUTE_MS = 60_000


def number(value: float | None) -> str:
    """Four digits, and no more than a reader can use.

    >>> number(0.123456), number(1234567.0), number(None), number(-0.0), number(3.0)
    ('0.1235', '1.235e+06', '-', '0', '3')
    """
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"


def share(value: float) -> str:
    """A share in per cent; something is never shown as nothing.

    >>> share(0.25), share(0.0004), share(0.0), share(1.0)
    ('25.0 %', '<0.1 %', '0 %', '100 %')
    """
    if value in {0.0, 1.0}:
        return f"{value:.0%}".replace("%", " %")
    if 0 < value < 0.0005:  # it would be rounded to nothing
        return "<0.1 %"
    return f"{value:.1%}".replace("%", " %")


def time(time_ms: int | None) -> str:
    """A time to the minute, UTC.

    >>> time(1_600_000_000_000)
    '2020-09-13 12:26'
    """
    if time_ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(time_ms // MINUTE_MS * 60, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # before the year 1 or after 9999
        return f"{time_ms} ms"


def anchor(name: str) -> str:
    """The id of a field's card; no two names have the same.

    >>> anchor("price"), anchor("a b")
    ('f-price', 'f-a-20-b')
    """
    return "f-" + "".join(one if one.isascii() and (one.isalnum() or one == "_") else f"-{ord(one):x}-" for one in name)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str], caption: str = "") -> str:
    """A table of cells that are HTML already; on a phone each row is a block with the head's words before the values.

    ``kinds`` are the cells' classes, empty for text, ``n`` for numbers.
    """
    said = [f' class="{kind}"' if kind else "" for kind in kinds]
    cells = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(head, said, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{escape(name)}"{kind}>{cell}</td>'
            for name, kind, cell in zip(head, said, row, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    told = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="table stack"><table>{told}<thead><tr>{cells}</tr></thead><tbody>\n{body}</tbody></table></div>'
