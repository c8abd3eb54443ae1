"""What is counted about labels: by outcome, each once, whatever is read again."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.monitor.processes import POLICY, Process, simulate, write
from tests.support import World, tiny_project


@pytest.fixture
def project(tmp_path):
    """A small model project, with a name of its own: metrics are the process's."""
    return tiny_project(tmp_path, model="counted")


def read(name: str, **labels: str) -> float:
    """A metric of the model."""
    return REGISTRY.get_sample_value(name, {"model": "counted", **labels}) or 0.0


def test_labels_are_counted_by_what_became_of_them(project, make):
    """Joined, corrected, repeated, too late or for nothing; how many wait, and how many never got one."""
    horizon = POLICY.horizon_rows
    lines = [make.line(f"e{at}") for at in range(horizon + 100)]
    lines += [make.line(f"e{at}", label=1.0) for at in range(50, 300)]  # 50 of them are past the horizon
    lines += [make.line("e200", label=0.0), make.line("e200", label=0.0), make.line("never", label=1.0)]
    frames = make.cut(lines, range(0, len(lines), 100), champion_version=1)

    async def work() -> Any:
        world = await World.create(project)
        await write(world, frames[:-1])
        first = Process(world)
        await first.reach(world)
        await first.kill()
        await write(world, frames[-1:])
        await Process(world).reach(world)
        return None

    simulate(work)

    outcomes = ("joined", "corrected", "duplicate", "late", "unusable", "forgotten")
    counted = {outcome: read("millrace_labels_total", outcome=outcome) for outcome in outcomes}
    assert dict(zip(outcomes, (200, 1, 1, 51, 0, 100), strict=True)) == counted
    assert horizon == read("millrace_waiting_predictions", partition="0")
    assert 1.0 == read("millrace_missing_labels_ratio", partition="0")
    newest_s = read("millrace_newest_labelled_event_timestamp_seconds", partition="0")
    assert 250 < newest_s < 300
    assert read("millrace_monitor_states_saved_total") >= 2
    assert read("millrace_monitor_state_bytes", partition="0") > 100
    assert 1.0 == read("millrace_versions_without_profile")
