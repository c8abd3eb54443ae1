"""Everything about one letter."""

import json
from collections.abc import Mapping
from typing import Any

from millrace.bus.deadletter import REPLAYED_FROM, place_of, replays, why
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.operating.letters import Replayed, time_text


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
