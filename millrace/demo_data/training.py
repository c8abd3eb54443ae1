"""Which rows were trained on: those of every run, read again by the ranges that it names, with the trainer's reader."""

from collections.abc import Mapping, Sequence

from millrace.contracts.events import ModelVersionChanged, OffsetRange, TrainingRunChanged
from millrace.demo.control import Control
from millrace.demo.ledger import Place
from millrace.demo_data.ledger import Fate
from millrace.demo_data.report import TrainedOn
from services.trainer.reader import SamplesReader


async def trained_on(reader: SamplesReader, control: Control, found: Sequence[Fate]) -> list[TrainedOn]:
    """Every run that began, oldest first, with the bad rows among those that it was trained and judged on."""
    by_sample = {one.sample: one for one in found if one.sample is not None}
    return [
        _trained(run, await _places(reader, run), by_sample, control.of(ModelVersionChanged))
        for run in newest_of(control)
        if run.ranges
    ]


def newest_of(control: Control) -> list[TrainingRunChanged]:
    """The newest event of each run, in the order in which the runs began."""
    newest: dict[str, TrainingRunChanged] = {}
    for change in control.of(TrainingRunChanged):
        newest[change.run_id] = change
    return list(newest.values())


async def _places(reader: SamplesReader, run: TrainingRunChanged) -> list[Place]:
    window = await reader.again(run.ranges, run.excluded)
    return [(row.partition, row.offset) for row in window.rows]


def _trained(
    run: TrainingRunChanged, places: Sequence[Place], by_sample: Mapping[Place, Fate],
    changes: Sequence[ModelVersionChanged],
) -> TrainedOn:  # fmt: skip
    fates = [by_sample.get(place) for place in places]
    rows = [fate.sending.row for fate in fates if fate is not None]
    told = [change for change in changes if change.run_id == run.run_id]
    decisions = [change.status for change in told]
    return TrainedOn(
        run_id=run.run_id,
        trigger=run.trigger,
        caused_by=run.caused_by,
        status=run.status,
        rows=len(places),
        bad_rows=sum(fate is None or fate.sending.fault is not None for fate in fates),
        from_row=min(rows, default=None),
        until_row=max(rows, default=None),
        bad_rows_in_ranges=sum(
            fate.sending.fault is not None and is_within(place, run.ranges) for place, fate in by_sample.items()
        ),
        excluded_offsets=covered(run.excluded),
        version=next((change.version for change in told if change.version is not None), None),
        decision="serves" if "PROMOTED" in decisions else "rejected" if "REJECTED" in decisions else "not decided",
        error=run.error,
    )


def is_within(place: Place, ranges: Sequence[OffsetRange]) -> bool:
    """Whether a sample lies in one of the ranges."""
    return any(part.partition == place[0] and part.from_offset <= place[1] < part.until_offset for part in ranges)


def covered(ranges: Sequence[OffsetRange]) -> int:
    """How many offsets lie in these ranges, which may overlap; each counts once."""
    found = 0
    reached: dict[int, int] = {}
    for part in sorted(ranges, key=lambda one: (one.partition, one.from_offset)):
        start = max(part.from_offset, reached.get(part.partition, part.from_offset))
        found += max(0, part.until_offset - start)
        reached[part.partition] = max(start, part.until_offset)
    return found
