"""``millrace dead-letters show``: everything about one letter, for people."""

import json
from typing import Any

import click


def show_detail(found: dict[str, Any]) -> None:
    """Print what ``millrace.operating.detail`` found."""
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
