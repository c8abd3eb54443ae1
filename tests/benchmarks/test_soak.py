"""How a soak is judged, and how a cost cell is sized, on figures made by hand."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks import soak, soak_picture
from benchmarks.cost import BASE, VARIED, Cell, owned
from benchmarks.soak_judge import MEMORY_CAP_MIB_PER_HOUR, judge, rise, theil_sen
from benchmarks.soak_load import is_bad
from benchmarks.soak_watch import Look, tasks_of
from millrace.contracts.codec import Codec
from millrace.contracts.events import PredictionMade
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import newest

EVERY_S, LOOKS = 5, 121


def looks(mib_per_hour: float = 0.0, descriptors_at_end: int = 20, tasks_at_end: float | None = 12.0) -> list[Look]:
    """Ten minutes; in the first half memory fills up by 60 MiB, in the second it grows as said, with a hiccup."""
    half = LOOKS // 2
    made = []
    for at in range(LOOKS):
        grown = min(at, half) + max(0, at - half) * EVERY_S / 3600 * mib_per_hour + (40 if at == 100 else 0)
        late = at > LOOKS * 3 // 4
        tasks = None if tasks_at_end is None else tasks_at_end if late else 12.0
        made.append(Look(at * EVERY_S, 100.0 + grown, descriptors_at_end if late else 20, 5, at * 0.5, tasks))
    return made


def test_only_the_second_half_is_judged():
    """60 MiB in the first five minutes are caches filling up; a hiccup of one look does not matter."""
    found = judge(looks())

    assert [] == found["faults"]
    assert 0.0 == found["memory_mib_per_hour"]
    assert 0.1 == found["cpu_share"]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (looks(mib_per_hour=MEMORY_CAP_MIB_PER_HOUR + 1), "memory"),
        (looks(descriptors_at_end=23), "descriptors"),
        (looks(tasks_at_end=15.0), "tasks"),
    ],
)
def test_what_grows_is_found(seen, word):
    """One fault, that names what grew."""
    assert [word] == [fault.split()[0] for fault in judge(seen)["faults"]]


def test_what_breathes_is_flat():
    """Two more descriptors, slow growth below the cap, and a process that does not tell its tasks."""
    seen = looks(mib_per_hour=MEMORY_CAP_MIB_PER_HOUR - 1, descriptors_at_end=22, tasks_at_end=None)

    assert [] == judge(seen)["faults"]


def test_a_short_soak_judges_no_memory():
    """In a minute a process still fills its caches: the slope is told, and is no fault."""
    assert [] == judge(looks(mib_per_hour=500)[60:85])["faults"]


def test_a_robust_slope_ignores_a_third_of_nonsense():
    """Theil and Sen: 2 a step, in spite of three wild values in ten."""
    ys = [2.0 * x for x in range(10)]
    ys[2] = ys[5] = 500.0
    ys[8] = -500.0

    assert pytest.approx(2.0) == theil_sen(range(10), ys)
    assert 0.0 == theil_sen([1.0], [1.0])
    assert 0.0 == rise([])


def test_tasks_are_read_from_the_metrics_with_and_without_labels():
    """None where the process has no such metric."""
    assert 3.0 == tasks_of('a 1\nmillrace_asyncio_tasks{service="x"} 3.0\nb 2\n')
    assert None is tasks_of("python_gc_objects 1\n")


def counted(**changes: int) -> dict:
    """A count of 2,000 events, two of them bad, in which everything is right unless changed."""
    right = {"dead_letters": 2, "dead_labels": 0, "missing": 0, "doubled": 0, "unexpected": 0}
    return {**right, **changes}


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"missing": 3}, ["3 predictions missing"]),
        ({"dead_letters": 1}, ["1 dead letters for 2 bad events"]),
        ({"dead_labels": 4}, ["4 labels in the dead letters"]),
    ],
)
def test_every_event_has_one_outcome(changes, faults):
    """A prediction if it is good, a dead letter if it is bad."""
    assert 2 == sum(map(is_bad, range(2000)))
    assert faults == soak.faults_of(counted(**changes), 2000)


async def test_the_event_id_is_found_in_a_prediction():
    """Also behind an id that needs two bytes for its length."""
    codec = Codec(LocalSchemas())
    await codec.prepare_topic("p", newest("prediction-made").raw)
    prediction = PredictionMade(
        prediction_id="p" * 200, event_id="soak-00000007", entity="e", model="m", version=1, variant="champion",
        epoch=1, value=0.0, label=None, scores=(), event_time_ms=0, predicted_at_ms=0, sample_partition=0,
        sample_offset=0,
    )  # fmt: skip

    assert "soak-00000007" == soak.event_id_of(codec.encode("p", prediction))


def test_the_picture_is_well_formed_and_names_each_service():
    """An SVG with a line for each service in each panel; the broker's heap is left out."""
    seen = [{"at_s": one.at_s, "rss_mib": one.rss_mib, "descriptors": one.descriptors, "tasks": one.tasks}
            for one in looks()]  # fmt: skip
    names = ("ingest", "serving", "monitor")
    report = {
        "minutes": 10, "rate": 1000, "passed": True, "looks": dict.fromkeys((*names, "broker"), seen),
        "lags": [{"at_s": one["at_s"], **dict.fromkeys(names, 4)} for one in seen],
    }  # fmt: skip
    root = ET.fromstring(soak_picture.draw(report))

    assert 4 * len(names) == len(root.findall(".//{http://www.w3.org/2000/svg}polyline"))


def test_cost_varies_one_thing_at_a_time_around_the_base():
    """Each row of the table contains the base; a heavy cell has fewer events."""
    assert all(getattr(BASE, what) in values for what, values in VARIED.items())
    assert [100_000, 20_000, 50_000] == [
        cell.events(100_000) for cell in (Cell(), Cell(features=600), Cell(trees=1000))
    ]


def test_the_partitions_of_a_process_are_those_last_assigned(tmp_path):
    """A rebalance takes all away, then gives some."""
    log = tmp_path / "serving.log"
    lines = ['{"event": "lanes assigned", "numbers": [0, 1]}', '{"event": "lanes revoked", "numbers": [0, 1]}']
    log.write_text("\n".join(lines))
    taken = owned(log)
    log.write_text("\n".join([*lines, "no json", '{"event": "lanes assigned", "numbers": [1]}']))

    assert ([], [1]) == (taken, owned(log))
