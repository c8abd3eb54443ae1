"""Time travel: whatever was read of a version once is read of it for ever, and nothing that was not known then."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.stores.lake import Lake
from tests.stores.lake_rows import EPOCH_MS, HOUR_MS, places, row, rows, span

PARTITIONS = 3
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, PARTITIONS - 1), st.lists(st.booleans(), min_size=1, max_size=30)),
        st.tuples(st.just("compact"), st.just(0), st.just([])),
        st.tuples(st.just("delete"), st.integers(0, 3), st.just([])),
    ),
    min_size=2,
    max_size=8,
)
POLICIES = st.sampled_from([LakePolicy(partition_by="day"), LakePolicy(partition_by="month")])
Places = list[tuple[int, int]]


class Model:
    """What the lake should have, in lists: the rows and the ends of partitions, as of each version that was seen."""

    def __init__(self) -> None:
        self.rows: Places = []
        self.ends = [0] * PARTITIONS
        self.seen: dict[int, tuple[Places, list[int]]] = {}

    def change(self, lake: Lake, what: str, number: int, present: list[bool]) -> None:
        """Do the same to both. Offsets that are not present are those that markers of transactions have."""
        if what == "append":
            start, end = self.ends[number], self.ends[number] + len(present)
            offsets = [offset for offset, there in zip(range(start, end), present, strict=True) if there]
            lake.append(rows(number, offsets), number, start, end)
            self.rows += [(number, offset) for offset in offsets]
            self.ends[number] = end
        elif what == "compact":
            lake.compact()
        else:
            entity = f"who'{number}"
            gone = [place for place in self.rows if row(*place)["entity"] == entity]
            assert len(gone) == lake.delete_entity(entity)
            self.rows = [place for place in self.rows if place not in gone]
        version = lake.version()
        if version is not None:
            self.seen[version] = (list(self.rows), list(self.ends))


@settings(max_examples=12)
@given(changes=CHANGES, policy=POLICIES, data=st.data())
def test_every_version_is_read_as_it_was(changes, policy, data):
    """Random changes, then random ranges of random versions: as in the model, row for row."""
    with TemporaryDirectory() as folder:
        lake, model = Lake(Path(folder), "tiny", policy), Model()
        for change in changes:
            model.change(lake, *change)
        for _ in range(4 if model.seen else 0):
            version = data.draw(st.sampled_from(sorted(model.seen)))
            there, ends = model.seen[version]
            bounds = [sorted(data.draw(st.tuples(st.integers(0, end), st.integers(0, end)))) for end in ends]
            wanted = [place for place in sorted(there) if bounds[place[0]][0] <= place[1] < bounds[place[0]][1]]
            found = Lake(Path(folder), "tiny", policy).read(
                [span(number, *each) for number, each in enumerate(bounds)], version
            )

            assert wanted == places(found)
            assert [contents(row(*place)) for place in wanted] == [contents(each) for each in found.to_pylist()]


@settings(max_examples=12)
@given(changes=CHANGES, hours=st.integers(-1, 60), odd=st.integers(-1, 1))
def test_nothing_is_known_before_it_was_recorded(changes, hours, odd):
    """At any log time exactly the rows that were recorded by then are seen: no label that came later."""
    until_ms = EPOCH_MS + hours * HOUR_MS + 500 + odd  # at, just before and just after a record
    with TemporaryDirectory() as folder:
        lake, model = Lake(Path(folder), "tiny", LakePolicy()), Model()
        for change in changes:
            model.change(lake, *change)
        wanted = [place for place in sorted(model.rows) if row(*place)["recorded"] <= until_ms]

        assert wanted == places(lake.read_until(until_ms))


def contents(one: dict[str, Any]) -> list[Any]:
    """What follows from the place, besides times."""
    return [one[name] for name in ("kind", "event_id", "entity", "features", "label", "flags", "source_offset")]
