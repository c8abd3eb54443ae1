"""The numbers of the decision, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.contracts.errors import ProjectError
from millrace.contracts.monitor_policy import Watched
from millrace.contracts.project import load_project
from services.monitor.policy import Policy

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"


def test_the_policy_of_a_project() -> None:
    """Its own slices, else the gates'; its own waiting time for labels; the delay of labels in ms."""
    project = load_project(EXAMPLE)
    policy = Policy.of(project)

    assert (project.monitors.label_wait_rows, project.monitors.save_every_rows) == (
        policy.horizon_rows,
        policy.save_every_rows,
    )
    assert 1_740_000 == policy.label_delay_ms
    assert project.gates.slices == policy.slices


def test_the_e_detector_has_the_promised_rate() -> None:
    """Two tests that may ask share it; what stands in monitors.error goes before."""
    policy = Policy(false_alarm_rows=1_000_000, tolerance=0.02)
    asks = replace(policy, estimate="ask")

    def limits(each: Policy) -> list[float]:
        watchers = each.error_watcher(), each.estimate_watcher()
        return [watcher.parameters["false_alarm_rows"] for watcher in watchers]

    assert [1_000_000, 1_000_000] == limits(policy)
    assert [2_000_000, 2_000_000] == limits(asks)
    assert [5_000, 1_000_000] == limits(replace(policy, error={"false_alarm_rows": 5_000}))
    assert 0.02 == policy.error_watcher().parameters["tolerance"]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Policy(error_detector="adwin", error={"clocks": 3}), r"monitors\.error: .*clocks"),
        (Policy(task="regression", error_detector="ddm"), "only 0 and 1"),
        (Policy(watch=(Watched(on="features", detector="hddm_a"),)), r"monitors\.watch\[0\].*from 0 to 1.*features"),
        (Policy(watch=(Watched(on="scores", detector="ddm"),)), "not scores; adwin takes any number"),
        (Policy(watch=(Watched(on="predictions", detector="e_detector"),)), "not predictions"),
    ],
)
def test_a_detector_that_cannot_watch_it_is_refused(policy: Policy, told: str) -> None:
    """At the start, with the place in model.yaml, what is wrong, and what would do."""
    with pytest.raises(ProjectError, match=told):
        policy.check()


@pytest.mark.parametrize(
    "detector", ["ddm", "eddm", "fhddm", "hddm_a", "hddm_w", "adwin", "page_hinkley", "e_detector"]
)
def test_errors_of_classes_suit_every_detector(detector: Any) -> None:
    """They are 0 or 1."""
    Policy(error_detector=detector, watch=(Watched(on="error", detector=detector, slices=True),)).check()
