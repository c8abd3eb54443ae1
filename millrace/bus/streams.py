"""Faust, for what is per decision: at least once, one record at a time. The only file that imports Faust."""

from collections.abc import Sequence

from millrace.bus.transport import Handler


async def run_agents(
    bootstrap_servers: str,
    group: str,
    topics: Sequence[str],
    handler: Handler,
    *,
    client_id: str,
    session_timeout_s: float,
    state_dir: str | None,
) -> None:
    """Not yet."""
    raise NotImplementedError
