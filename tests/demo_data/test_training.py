"""Which rows a run was trained on, read again from the log."""

from pathlib import Path

import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange, SampleRecorded
from millrace.demo_data.inject import Fault
from millrace.demo_data.ledger import Fate
from millrace.demo_data.training import covered, trained_on
from services.trainer.reader import SamplesReader
from tests.demo_data.scene import run_of, said, sending
from tests.support import EPOCH_MS, World, tiny_project

ROWS = 10
FLAGGED, SLIPPED = 3, 5


async def log_of(folder: Path) -> tuple[World, list[Fate]]:
    """Ten events with their labels: one is bad and flagged, one is bad and slipped through."""
    world = await World.create(tiny_project(folder))
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.SAMPLES)
    faults: dict[int, Fault] = {FLAGGED: "new_category", SLIPPED: "unit_change"}
    found = []
    for number in range(ROWS):
        common = {
            "event_id": f"e{number}", "entity": "w", "time_ms": EPOCH_MS + number, "source_topic": "tiny-events",
            "source_partition": 0, "source_offset": number, "source_time_ms": EPOCH_MS,
        }  # fmt: skip
        flags = "unseen-category:feed" if number == FLAGGED else None
        event = SampleRecorded(
            kind="EVENT", feature_set=world.project.feature_set, features=(0.0, 0.0, 0.0), event=b"", label=None,
            flags=flags, **common,
        )  # fmt: skip
        label = SampleRecorded(kind="LABEL", feature_set="", features=(), event=None, label=1.0, **common)
        before = len(await world.records(topics.SAMPLES))
        await world.send(topics.SAMPLES, *(("w", codec.encode("tiny-samples", one)) for one in (event, label)))
        place = (0, (await world.records(topics.SAMPLES))[before].offset)
        flagged = (flags,) if flags else ()
        found.append(
            Fate(number, sending(number, faults.get(number)), (0, number), flags=flagged, sample=place, ends=1)
        )
    return world, found


async def test_a_bad_row_in_a_run_is_found(tmp_path: Path) -> None:
    """The flagged one lies in the run's range and is no row; the one that slipped through is, unless it was vetoed."""
    world, found = await log_of(tmp_path)
    reader = SamplesReader(world.project, world.transport(), Codec(world.schemas))
    end = found[-1].sample[1] + 2 if found[-1].sample else 0
    slipped = found[SLIPPED].sample
    assert slipped is not None
    veto = (slipped[1], slipped[1] + 1)
    [open_run] = await trained_on(reader, said([run_of(0, end)]), found)
    [vetoed] = await trained_on(reader, said([run_of(0, end, veto)]), found)

    assert (9, 1, 2, 0) == (open_run.rows, open_run.bad_rows, open_run.bad_rows_in_ranges, open_run.excluded_offsets)
    assert (8, 0, 2, 1) == (vetoed.rows, vetoed.bad_rows, vetoed.bad_rows_in_ranges, vetoed.excluded_offsets)
    assert (0, 9) == (vetoed.from_row, vetoed.until_row)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [([], 0), ([(3, 5)], 2), ([(3, 5), (4, 9)], 6), ([(4, 9), (5, 6)], 5), ([(7, 9), (1, 3)], 4)],
)
def test_offsets_that_are_left_out_count_once(ranges: list[tuple[int, int]], expected: int) -> None:
    """Vetoes of neighbouring windows overlap."""
    parts = [OffsetRange(topic="t", partition=0, from_offset=low, until_offset=high) for low, high in ranges]

    assert expected == covered(parts)
