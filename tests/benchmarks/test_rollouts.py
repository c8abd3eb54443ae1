"""The simulation of rollouts: it drives the real verdicts, counts what it says, and notices a broken promise."""

import doctest
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import rollouts, rollouts_drive, rollouts_judge, rollouts_picture, rollouts_worlds
from benchmarks.rollouts_drive import Ended, drive
from benchmarks.rollouts_worlds import POLICIES, WORLDS, Stream, World, cells

BY_NAME = {world.name: world for world in WORLDS}


@pytest.mark.parametrize("module", [rollouts, rollouts_drive, rollouts_judge, rollouts_picture, rollouts_worlds])
def test_the_examples_in_the_docstrings_hold(module):
    """The benchmarks are outside the folders whose examples run by themselves."""
    assert 0 == doctest.testmod(module).failed


def steady(rows, *, right=True, champion_right=True, failed=False):
    """A stream on which everything is the same at each event, and every tenth event falls to the candidate."""
    full = [np.full(rows, value) for value in (right, champion_right, failed)]
    return Stream(*full, place=(np.arange(rows) % 10) / 10)


def test_identical_versions_are_promoted_after_both_steps():
    """50 events at a tenth, 50 at a half: 5 and 25 events were answered by the candidate."""
    assert Ended("promoted", 100, 100, 30) == drive(POLICIES["canary"], World("same"), steady(500))


def test_a_version_that_is_always_wrong_is_found_at_once():
    """Ten events show it; it has answered one of them."""
    found = drive(POLICIES["canary"], World("wrong"), steady(500, right=False))

    assert ("metric", 10, 1) == (found.how, found.events, found.touched)


def test_a_version_that_fails_touches_nothing():
    """The champion answers where the candidate raises."""
    found = drive(POLICIES["canary"], World("failing", errors=1.0), steady(500, failed=True))

    assert ("errors", 10, 0) == (found.how, found.events, found.touched)


def test_late_labels_delay_the_verdict_and_not_the_guardrail():
    """With labels 100 events late the metric speaks after 110 events; errors speak after ten."""
    late = World("late", delay=100)
    wrong = drive(POLICIES["canary"], late, steady(500, right=False))

    assert (10, 110, 11) == (wrong.rows, wrong.events, wrong.touched)
    assert 10 == drive(POLICIES["canary"], late, steady(500, failed=True)).events


def test_a_stream_that_ends_without_a_verdict_is_told_as_open():
    """Neither promoted nor rolled back."""
    found = drive(POLICIES["ab"], World("short"), steady(100))

    assert "open" == found.how


def test_the_same_seeds_give_the_same_rollouts():
    """Ten of one cell, twice; another seed gives another."""
    at = [(policy, world.name) for policy, world in cells()].index(("canary", "worse by 5"))

    assert rollouts.simulate(at, 0, 5) == rollouts.simulate(at, 0, 5)
    assert rollouts.simulate(at, 0, 5) != rollouts.simulate(at, 5, 10)


def test_each_policy_meets_good_and_bad_candidates():
    """The guard must see the table: every policy has worlds in which each of its errors could be made."""
    seen = {(policy, rollouts_judge.is_bad(policy, world)) for policy, world in cells()}

    assert {(policy, bad) for policy in POLICIES for bad in (True, False)} == seen
    assert len(cells()) > 35


@pytest.mark.parametrize(
    ("policy", "world", "bad", "promotion", "rollback"),
    [
        ("canary", "equal", False, None, 0.05),
        ("canary", "worse by 1", False, None, None),
        ("canary", rollouts_worlds.BUNCHES, False, None, None),
        ("canary", "worse by 5", True, 0.05, None),
        ("canary", "errors 1 %, as allowed", False, None, 0.1),
        ("canary", "errors 2 %", True, None, None),
        ("ab", "equal", True, 0.05, 0.05),
        ("ab", "better by 2", False, None, 0.05),
        ("bandit", "worse by 1", True, None, None),
    ],
)
def test_what_is_promised(policy, world, bad, promotion, rollback):
    """Within the margin nothing is promised either way; an A/B test promises to promote only the better."""
    seen = BY_NAME[world]

    assert bad == rollouts_judge.is_bad(policy, seen)
    assert promotion == rollouts_judge.promised_promotion(policy, seen)
    assert rollback == rollouts_judge.promised_rollback(policy, seen)


def test_a_broken_promise_is_found():
    """20 % promoted that are worse by the margin, 20 % rolled back that are equal, and a bandit that loses most."""
    promoted, stopped = Ended("promoted", 100, 100, 50), Ended("metric", 50, 50, 5)
    some = [promoted] * 20 + [stopped] * 80
    figures = rollouts_judge.figures
    broken = {
        "canary": {
            "worse by 5": figures("canary", BY_NAME["worse by 5"], some),
            "equal": figures("canary", BY_NAME["equal"], [stopped] * 20),
            "worse by 1": figures("canary", BY_NAME["worse by 1"], some),
        },
        "bandit": {"worse by 5": figures("bandit", BY_NAME["worse by 5"], [Ended("promoted", 100, 100, 90)])},
    }

    assert [
        "canary, worse by 5: false_promotion 0.2000 is above the promised 0.05 by more than chance",
        "canary, equal: false_rollback 1.0000 is above the promised 0.05 by more than chance",
        "bandit, worse by 5: regret 4.5 is above 2.5, that of half and half",
    ] == rollouts_judge.faults(broken)


def test_a_run_writes_figures_and_a_picture(tmp_path):
    """Twenty rollouts of each shadow world, in this process: every promise kept, the picture well-formed."""
    told = CliRunner().invoke(
        rollouts.main, ["--seeds", "20", "--only", "shadow", "--jobs", "1", "--report", str(tmp_path)]
    )
    report = json.loads((tmp_path / "bench-rollouts.json").read_text("utf-8"))
    picture = ET.fromstring((tmp_path / "bench-rollouts.svg").read_text("utf-8"))

    assert (0, True, 20) == (told.exit_code, report["passed"], report["seeds"])
    assert set(rollouts_worlds.SHADOW_WORLDS) == set(report["policies"]["shadow"])
    assert 0.0 == report["policies"]["shadow"]["worse by 10"]["promoted_share"]
    assert "20 simulated rollouts of each kind: every promise kept" == picture.attrib["aria-label"]
