"""What a model's log tells: what served when, at what share, by whose word, why, and why nothing else did."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.contracts.events import DriftDetected, ModelVersionChanged, ServingStatusReported
from services.registry import rows
from services.registry.follow import FOLLOWED
from services.registry.history import Life
from services.registry.history_line import told
from services.registry.projection import Projection
from services.registry.rollout_views import rollouts
from tests.registry.lives import SPACES, Lived, whole_life


@pytest.fixture(scope="module")
def lived() -> Lived:
    """A whole life, decided once."""
    return whole_life()


@pytest.fixture
def life(lived: Lived) -> Life:
    """The same, folded."""
    return Life.of("tiny", lived.log)


def projected(log, url):
    """What a projection of the log gives back."""
    projection = Projection(url)
    projection.open([row.suffix for row in FOLLOWED])
    for row, kind in FOLLOWED.items():
        events = list(enumerate(event for event in log if isinstance(event, kind)))
        projection.apply(row.suffix, 0, len(events), events)
    with projection.session() as session:
        found = rows.life(session, "tiny")
    projection.close()
    return found


def at(life, lived, name):
    """What served at a named time."""
    return told(life, lived.at[name], SPACES).served


def others(served):
    """What the others were, by version or run."""
    return {other.version or other.run_id: other.state for other in served.others}


def test_before_the_first_deployment_nothing_served_and_who_waits_is_named(life, lived):
    """The version waits for a person; the answer says for how many, in which space."""
    served = at(life, lived, "waiting")
    (waits,) = [other for other in served.others if other.version == 1]

    assert (None, [], []) == (served.epoch, served.traffic, served.chain)
    assert ("waiting", True) == (waits.state, waits.why.startswith("waiting for approval of production: 0 of 1"))


def test_what_served_is_told_with_epoch_offset_and_who_approved(life, lived):
    """Since which deployment, from which offset in each partition, by whose word."""
    served = at(life, lived, "first")

    assert ("deployment/tiny/1", 1, "registry") == (served.deployment_id, served.epoch, served.decided_by)
    assert [(1, 1.0, "run-1", ["ada"])] == [
        (part.version, part.share, part.run_id, part.approved_by) for part in served.traffic
    ]
    assert [(0, 1, 100)] == [(one.partition, one.epoch, one.from_offset) for one in served.partitions]
    assert [("ada", 1, "looks good")] == [(one.by, one.version, one.reason) for one in served.approvals]
    assert served.until_ms == at(life, lived, "canary").since_ms


def test_a_canary_is_told_with_the_share_of_each_version(life, lived):
    """Champion and candidate, the rollout, its step."""
    served = at(life, lived, "canary")

    assert [("champion", 1, 0.9), ("candidate", 2, 0.1)] == [
        (part.variant, part.version, pytest.approx(part.share)) for part in served.traffic
    ]
    assert ("rollout/tiny/2", "canary", 0) == (served.rollout_id, served.strategy, served.step)


def test_the_chain_goes_from_the_champion_through_the_canary_back_to_the_drift(life, lived):
    """Deployment, measurement, rollout as one link, version, run, retrain request, drift event."""
    served = at(life, lived, "second")

    assert [
        ("deployment", "deployment/tiny/4"),
        ("measurement", "evidence/tiny/rollout/tiny/2/3/0/1200"),
        ("rollout", "rollout/tiny/2"),
        ("deployment", "deployment/tiny/2"),
        ("version", "version/tiny/2/PROMOTED/test"),
        ("version", "version/tiny/2/REGISTERED"),
        ("training run", "run-2"),
        ("retrain request", "retrain/tiny/1"),
        ("drift event", "drift/tiny/1"),
    ] == [(link.kind, link.id) for link in served.chain]
    assert {1: "retired"} == {key: state for key, state in others(served).items() if isinstance(key, int)}


def test_without_drift_events_the_chain_still_ends_with_the_id_of_one(lived):
    """The registry's database holds none of them: it names the id."""
    life = Life.of("tiny", [event for event in lived.log if not isinstance(event, DriftDetected)])
    (last,) = at(life, lived, "second").chain[-1:]

    assert ("drift event", "drift/tiny/1", "") == (last.kind, last.id, last.what)


def test_a_rollback_names_the_guardrail_and_the_measurement(life, lived):
    """Why the candidate does not serve: what was seen, against what limit, and where that is written."""
    served = at(life, lived, "stopped")
    (stopped,) = [other for other in served.others if other.version == 3]

    assert ("rolled back", "deployment/tiny/6") == (stopped.state, stopped.id)
    assert "error share 75.0 % of 200 events is above 1.0 %" == stopped.why
    assert "evidence/tiny/rollout/tiny/5/5/0/200" == stopped.evidence_id
    assert "rejected" == others(served)["run-3"]


def test_a_freeze_is_told_and_who_waits_for_its_end(life, lived):
    """Who froze it, why, and that the newest version waits."""
    served = at(life, lived, "end")
    (waits,) = [other for other in served.others if other.version == 4]

    assert served.frozen is not None
    assert ("ada", "a holiday") == (served.frozen.by, served.frozen.reason)
    assert "frozen by ada: a holiday" in waits.why
    assert at(life, lived, "stopped").frozen is None


def test_a_partition_that_could_not_load_shows_both_what_it_serves_and_what_failed():
    """The last good version goes on, and the history has a line for the failure."""
    lived = whole_life()
    lived.serves(failed="no such operator", partition=0)
    history = told(Life.of("tiny", lived.log), None)

    assert [("FAILED", "no such operator"), ("SERVING", None)] == [
        (one.status, one.reason) for one in history.served.partitions
    ]
    assert 1 == sum(entry.what == "loading failed" for entry in history.events)


def test_the_whole_life_is_one_line_per_event_in_order_with_rollouts_together(life):
    """Sorted by time; the end of a rollout and what follows from it belong to it."""
    events = told(life, None).events
    of_it = [entry.what for entry in events if entry.rollout_id == "rollout/tiny/2"]

    assert sorted(entry.at_ms for entry in events) == [entry.at_ms for entry in events]
    assert ["rollout started", "advanced", "promoted", "promoted", "retired"] == of_it
    assert ["approve accepted", "approve accepted", "approve accepted", "freeze accepted", "retire refused"] == [
        entry.what for entry in events if entry.by == "ada" and entry.id.startswith("request/")
    ]
    assert "refused: version 2 has a part of the traffic" in events[-1].why


def test_a_rollout_under_way_is_told_with_its_evidence_summed():
    """The newest measurement of each partition, over all of them."""
    lived = Lived()
    for event in whole_life().log:
        lived._write(event)
        if getattr(event, "kind", None) == "ROLLOUT_STARTED":
            break
    lived.measures(rows=20, better=3, worse=1)
    first = lived.log[-1]
    second = {"partition": 1, "evidence_id": "evidence/tiny/rollout/tiny/2/2/1/40", "until_offset": 40}
    lived.happens(first.model_copy(update=second))
    (found,) = rollouts(Life.of("tiny", lived.log)).rollouts

    assert ("rollout/tiny/2", "canary", 0, 2) == (found.rollout_id, found.strategy, found.step, found.epoch)
    assert [("champion", 40, 0.3), ("candidate", 40, None)] == [
        (arm.variant, arm.scored_rows, arm.loss) for arm in found.arms
    ]
    assert [(40, 6, 2, -4 / 40)] == [
        (pair.paired_rows, pair.better_rows, pair.worse_rows, pair.difference) for pair in found.pairs
    ]
    assert 2 == len(found.evidence_ids)
    assert (found.arms, found.pairs) == (found.total_arms, found.total_pairs)


def test_the_end_of_a_rollout_leaves_none_under_way(life):
    """After the rollback nothing is tried out, and the freeze is shown."""
    found = rollouts(life)

    assert ([], 6, "ada") == (found.rollouts, found.epoch, found.frozen and found.frozen.by)


@pytest.mark.parametrize("name", [None, "waiting", "first", "canary", "second", "stopped", "end"])
def test_the_database_and_the_log_tell_the_same(lived, tmp_path, name):
    """One fold, two sources: also at times in the past."""
    at_ms = None if name is None else lived.at[name]
    known = [event for event in lived.log if not isinstance(event, DriftDetected)]
    found = projected(lived.log, f"sqlite:///{tmp_path / 'registry.db'}")

    assert told(Life.of("tiny", known), at_ms, SPACES) == told(found, at_ms, SPACES)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_doubled_and_stale_events_change_nothing(lived, tmp_path_factory, data):
    """What the core refuses is refused by the fold and by the tables, wherever in the log it stands again."""
    log, before = list(lived.log), told(Life.of("tiny", lived.log), None, SPACES)
    repeated = [
        place for place, event in enumerate(log) if not isinstance(event, ServingStatusReported | DriftDetected)
    ]
    for place in data.draw(st.lists(st.sampled_from(repeated), max_size=8)):
        log.insert(data.draw(st.integers(place + 1, len(log))), lived.log[place])
    log = [event for event in log if not isinstance(event, DriftDetected)]
    folder = tmp_path_factory.mktemp("db")
    after = told(Life.of("tiny", log), None, SPACES)
    from_tables = told(projected(log, f"sqlite:///{folder / 'registry.db'}"), None, SPACES)

    assert after == from_tables
    assert before.served.model_copy(update={"chain": []}) == after.served.model_copy(update={"chain": []})
    assert [entry.id for entry in before.events] == [entry.id for entry in after.events]


def test_what_is_about_another_model_is_left_out(lived):
    """Topics are shared."""
    other = Life.of("another", lived.log)

    assert not other.is_known
    assert [] == told(other, None).events


def test_an_answer_is_json_without_odd_numbers(life):
    """What is told can be read by any program."""
    assert json.loads(json.dumps(told(life, None).model_dump(), allow_nan=False))["model"] == "tiny"


def test_a_version_rejected_by_a_person_keeps_the_reason():
    """A word against it is told as such, and the number stays with it."""
    lived = Lived()
    lived.happens(whole_life().log[0])
    lived.asks("reject", 1, reason="trained on a strike")
    (other,) = told(Life.of("tiny", lived.log), None).served.others

    assert ("rejected", True) == (other.state, "trained on a strike" in other.why)
    assert "REJECTED" == [event.status for event in lived.log if isinstance(event, ModelVersionChanged)][-1]
