"""What is known of a rollout is a fold of measurements, whatever the order of partitions."""

from itertools import permutations

from services.registry.rollout.evidence import Evidence
from services.registry.rollout.examples import arm, measured, pair


def some():
    """Two epochs, two partitions, the older of two measurements among them."""
    return [
        measured(epoch=2, partition=0, until_offset=10, arms=[arm("candidate", scored_rows=4)], pairs=[pair(3)]),
        measured(
            epoch=2, partition=0, until_offset=20, arms=[arm("candidate", scored_rows=9, error_rows=1)],
            pairs=[pair(8, worse=2)], measured_at_ms=50,
        ),
        measured(epoch=2, partition=1, until_offset=5, arms=[arm("candidate", scored_rows=5)], measured_at_ms=40),
        measured(epoch=3, partition=0, until_offset=30, arms=[arm("candidate", scored_rows=7)], pairs=[pair(7)]),
    ]  # fmt: skip


def test_sums_are_those_of_the_newest_measurements():
    """9 + 5 rows in epoch 2, 7 in epoch 3; the older measurement of partition 0 is not counted."""
    evidence = Evidence()
    for event in some():
        evidence = evidence.add(event)

    assert [14, 7, 21] == [evidence.arms(epoch)["candidate"].scored_rows for epoch in (2, 3, None)]
    assert (15, 2) == (evidence.pairs()["candidate"].paired_rows, evidence.pairs()["candidate"].worse_rows)
    assert {} == evidence.arms(4)


def test_the_order_of_measurements_does_not_matter():
    """All 24 orders give the same sums and the same newest id; each event is taken twice."""
    found = set()
    for order in permutations(some()):
        evidence = Evidence()
        for event in (*order, *order):
            evidence = evidence.add(event)
        found.add((repr(evidence.arms()), repr(evidence.pairs(2)), evidence.newest_id))

    assert 1 == len(found)


def test_an_older_measurement_changes_nothing():
    """Not even the object."""
    old, new, *_ = some()
    evidence = Evidence().add(new)

    assert evidence is evidence.add(old)


def test_the_newest_id_is_of_what_was_measured_last():
    """None before anything is known."""
    evidence = Evidence()
    for event in some():
        evidence = evidence.add(event)

    assert None is Evidence().newest_id
    assert "evidence/m/rollout/m/2/2/0/20" == evidence.newest_id


def test_the_time_of_labels_is_that_of_the_last_growth():
    """A later measurement without a new label does not count as a label."""
    labelled = measured(until_offset=10, pairs=[pair(5)], measured_at_ms=100)
    silent = measured(until_offset=20, pairs=[pair(5)], arms=[arm("candidate", scored_rows=90)], measured_at_ms=900)

    assert {2: 100} == Evidence().add(labelled).add(silent).labelled_at_ms
    assert Evidence().add(silent) == Evidence().add(labelled).add(silent), "what is stored is only the newest"
