"""``millrace dead-letters show``: everything about one letter."""

import json
from collections.abc import Mapping
from typing import Any

import click

from millrace.bus.deadletter import REPLAYED_FROM, place_of, replays, why
from millrace.bus.types import Record
from millrace.cli.dead_letters.letters import Replayed, time_text
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError


async def detail(record: Record, codec: Codec, replayed: Mapping[str, Replayed]) -> dict[str, Any]:
    """Everything about one letter; ``decoded`` is None where the value is no event, and ``undecodable`` says why.

    ``replayed`` tells when letters were sent back. ``replays`` counts how often the record had been sent back before
    it was refused here, ``replayed_from`` names the letter before.
    """
    value = record.value or b""
    sent_back = replayed.get(place_of(record))
    found: dict[str, Any] = {
        "place": f"{record.partition}/{record.offset}",
        "time": time_text(record.timestamp_ms),
        **why(record),
        "replayed": None if sent_back is None else time_text(sent_back.time_ms),
        "replays": replays(record),
        "replayed_from": _text(record.header(REPLAYED_FROM)),
        "key": _text(record.key),
        "headers": [[name, _text(content)] for name, content in record.headers],
        "value_hex": value.hex(),
        "decoded": None,
        "undecodable": None,
    }
    try:
        found["decoded"] = json.loads(json.dumps(await codec.decode_record(record.value), default=_plain))
    except ContractError as error:
        found["undecodable"] = str(error)
    return found


def _text(content: bytes | None) -> str | None:
    """As text where it is text, else as hex."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"0x{content.hex()}"


def _plain(value: object) -> str:
    """What JSON has no form for: bytes as hex, the rest (decimals, dates) as their text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def show_detail(found: dict[str, Any]) -> None:
    """The same for people."""
    for name in ("place", "time", "reason", "message", "key"):
        click.echo(f"{name:8} {found[name]}")
    click.echo(f"{'origin':8} {found['topic']}/{found['partition']}/{found['offset']}")
    click.echo(f"{'replayed':8} {found['replayed'] or 'not yet'}")
    if found["replays"]:
        click.echo(f"{'replays':8} {found['replays']}, the last from {found['replayed_from']}")
    click.echo("headers")
    for name, content in found["headers"]:
        click.echo(f"  {name}: {content}")
    click.echo(f"value, {len(found['value_hex']) // 2} bytes\n  {found['value_hex']}")
    decoded = found["decoded"]
    click.echo(
        f"not decodable: {found['undecodable']}"
        if decoded is None
        else f"decoded\n{json.dumps(decoded, indent=2, ensure_ascii=False)}"
    )
