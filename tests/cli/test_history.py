"""``millrace history``: the life of a model by the log alone, for people and for programs."""

from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from millrace.cli.history import command, read_life
from millrace.cli.history_show import show
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from services.registry.commands import Log
from services.registry.history import Life
from services.registry.history_line import told
from tests.registry.lives import SPACES, Lived, append_all, whole_life
from tests.support import World, tiny_project


@pytest.fixture(scope="module")
def lived() -> Lived:
    """A whole life."""
    return whole_life()


def printed(lived: Lived, at: str | None = None, *, terminal: bool = False) -> list[str]:
    """The lines for people."""
    out = StringIO()
    history = told(Life.of("tiny", lived.log), None if at is None else lived.at[at], SPACES)
    show(
        history, Console(file=out, width=260, force_terminal=terminal, color_system=None), ["one record is unreadable"]
    )
    return out.getvalue().splitlines()


async def test_it_is_read_from_the_topics_without_a_registry(tmp_path: Path, lived: Lived) -> None:
    """All control topics, drift events too; records that are no events are noted and left out."""
    world = await World.create(tiny_project(tmp_path / "project"))
    await append_all(world, lived.log)
    await world.send(topics.ALERTS, ("tiny", b"of no interest"))
    await world.send(topics.SERVING_STATUS, ("other", b"not avro"))
    life, notes = await read_life(Log(world.transport(), Codec(world.schemas), world.clock), "tiny")

    assert told(Life.of("tiny", lived.log), None) == told(life, None)
    assert ["serving-status/0/4 is no ServingStatusReported and was left out"] == [note.split(":")[0] for note in notes]


def test_a_time_is_told_with_shares_offsets_chain_and_the_others(lived: Lived) -> None:
    """What served, since which event, by whose word, why, and why nothing else did."""
    lines = printed(lived, "second")

    assert lines[0].startswith("tiny at 2020-09-13 12:37:10.000Z: epoch 4, deployment/tiny/4, from 2020-09-13 12:35:40")
    for words in (
        "    100 %  version 2 as champion, trained, run run-2, approved by ada",
        "  partition 0 serves epoch 4 from offset 300, since 2020-09-13 12:35:40.000Z",
        "  <- 2020-09-13 12:26:40.001Z  drift event drift/tiny/1: adwin on loss: 0.1 became 0.4",
        "  version 1: retired: replaced by version 2 [version/tiny/1/RETIRED]",
        "note: one record is unreadable",
    ):
        assert words in lines, lines


def test_a_rollback_names_the_guardrail(lived: Lived) -> None:
    """Which limit failed, and the measurement."""
    assert (
        "  version 3: rolled back: error share 75.0 % of 200 events is above 1.0 % "
        "[deployment/tiny/6, evidence/tiny/rollout/tiny/5/5/0/200]"
    ) in printed(lived, "stopped")


def test_before_the_first_deployment_the_answer_says_who_is_waited_for(lived: Lived) -> None:
    """Nothing served, and why."""
    lines = printed(lived, "waiting")

    assert lines[0].startswith("tiny: nothing served at 2020-09-13")
    assert any("version 1: waiting: waiting for approval of production: 0 of 1" in line for line in lines)


def test_elsewhere_than_on_a_terminal_the_life_is_one_line_per_event(lived: Lived) -> None:
    """The steps of a rollout stand together under its name."""
    lines = printed(lived)
    start = lines.index("rollout/tiny/2:")

    assert [True] * 5 == [line.startswith("  2020-09-13") for line in lines[start + 1 : start + 6]]
    assert ["rollout started", "advanced", "promoted", "promoted", "retired"] == [
        line.split("  ")[2] for line in lines[start + 1 : start + 6]
    ]
    assert any(line.split("  ")[1:2] == ["retire refused"] for line in lines)


def test_on_a_terminal_it_is_a_table(lived: Lived) -> None:
    """With a heading for each rollout."""
    lines = printed(lived, terminal=True)

    cells = {cell.strip() for line in lines for cell in line.split("│")}
    assert {"rollout/tiny/2", "rollout/tiny/5", "rolled back", "retire refused"} <= cells


def test_a_time_that_is_none_is_refused_before_anything_is_read() -> None:
    """With what is accepted."""
    result = CliRunner().invoke(command, ["tiny", "--at", "yesterday"])

    assert 2 == result.exit_code
    assert "'yesterday' is no time: give ISO 8601" in result.output
