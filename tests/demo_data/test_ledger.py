"""What counts as caught, held up, lost and falsely rejected."""

from millrace.demo_data.inject import Plan
from millrace.demo_data.ledger import Fate, clean_rows, fates, fault_figures, latency, lost
from millrace.demo_data.read import Admitted, Letter
from tests.demo_data.scene import Scene, ordinary, sending

PLAN = Plan.of(100, 1_100)
CATCH = {
    "unit_change": ["unseen-range"],
    "new_category": ["flag unseen-category:feed"],
    "missing_burst": ["unseen-missing"],
    "duplicated_hour": ["duplicate-event", "duplicate-event", "not-unique", "not-unique"],
    "schema_change": ["unseen-missing", "unknown-schema"],
}


def fates_of(scene: Scene) -> list[Fate]:
    """What became of everything."""
    return fates(scene.sent, scene.told)


def test_a_dead_letter_or_a_flag_is_a_catch() -> None:
    """An event that became an ordinary sample is not caught, however well the others were."""
    scene = Scene()
    scene.refuse(sending(0, "unit_change"), "unseen-range")
    scene.admit(sending(1, "new_category"), "unseen-category:feed", "late-event")
    scene.admit(sending(2, "unit_change"))

    assert ["unseen-range", "unseen-category:feed,late-event", None] == [one.caught_by for one in fates_of(scene)]


def test_everything_is_found_by_its_bytes() -> None:
    """The same bytes sent twice are two records: the first place is the first one's."""
    scene = Scene()
    scene.admit(sending(0))
    scene.refuse(sending(0), "duplicate-event")
    found = fates_of(scene)

    assert [(0, 100), (0, 101)] == [one.source for one in found]
    assert [None, "duplicate-event"] == [one.caught_by for one in found]


def test_the_figures_of_each_fault() -> None:
    """Injected, caught, by what, and the stretch in which it stood."""
    figures = fault_figures(fates_of(ordinary(PLAN, 1_200, CATCH)), PLAN)

    assert {fault: (one.injected, one.caught) for fault, one in figures.items()} == {
        "unit_change": (31, 31), "new_category": (21, 21), "missing_burst": (18, 18), "duplicated_hour": (4, 4),
        "schema_change": (34, 34),
    }  # fmt: skip
    assert {"duplicate-event": 2, "not-unique": 2} == figures["duplicated_hour"].caught_by
    assert (0, 21) == (figures["new_category"].rejected, figures["new_category"].flagged)
    assert {"unseen-range": "why unseen-range"} == figures["unit_change"].messages


def test_what_passed_before_the_first_catch_is_counted() -> None:
    """Three bad events go by, then one is caught, then another goes by."""
    scene = Scene()
    for number in range(3):
        scene.admit(sending(number, "unit_change"))
    scene.refuse(sending(3, "unit_change"), "unseen-range")
    scene.admit(sending(4, "unit_change"))
    figures = fault_figures(fates_of(scene), PLAN)["unit_change"]

    assert (5, 1, 3) == (figures.injected, figures.caught, figures.passed_before_first_caught)


def test_a_good_row_is_held_up_without_exactly_one_prediction() -> None:
    """None and two are both wrong; before a version serves there is none to be had."""
    scene = Scene()
    for number in range(5):  # samples at 0 to 8: nothing serves
        scene.admit(sending(number))
    for number, predictions in enumerate((1, 0, 2), 5):
        scene.admit(sending(number), predictions=predictions)

    assert [False] * 6 + [True, True] == [one.is_held_up for one in fates_of(scene)]


def test_false_rejections_are_counted_among_good_rows_only() -> None:
    """Refused and flagged apart, and by what."""
    scene = Scene()
    scene.admit(sending(0))
    scene.refuse(sending(1), "unseen-range")
    scene.admit(sending(2), "unseen-category:feed")
    scene.refuse(sending(3, "unit_change"), "unseen-range")
    found = clean_rows(fates_of(scene))

    assert (3, 1, 1) == (found.rows, found.refused, found.flagged)
    assert {"unseen-range": 1, "unseen-category:feed": 1} == found.by
    assert 2 / 3 == found.share


def test_what_ends_nowhere_or_twice_is_lost() -> None:
    """Not in the events topic, received without an end, or both a sample and a dead letter."""
    scene = Scene()
    scene.admit(sending(0))
    scene.send(sending(1))
    both = scene.send(sending(2))
    scene.told.refused[both] = [Letter("unseen-range", "", None)]
    scene.told.admitted[both] = [Admitted((0, 50), (), None)]
    scene.refuse(sending(3), "unseen-range")
    scene.told.received.pop()

    assert 3 == lost(fates_of(scene))


def test_latency_is_of_good_rows() -> None:
    """Bad ones may take as long as they like."""
    scene = Scene()
    for number in range(20):
        scene.admit(sending(number), latency_ms=10 + number)
    scene.admit(sending(20, "new_category"), "unseen-category:feed", latency_ms=9_000)
    found = latency(fates_of(scene))

    assert (15, 22, 29) == (found.rows, found.p50_ms, found.max_ms)
    assert latency([]).p50_ms is None
