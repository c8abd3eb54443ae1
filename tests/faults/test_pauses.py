"""Faults 4, 5 and 6: the broker is killed, stopped or paused; a serving process sleeps while another takes over."""

import signal
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from millrace.contracts import topics
from tests.faults.harness import Service, wait_for
from tests.faults.judge import aborted
from tests.faults.net import FORGETFUL, Net, Watch, Work, is_stopped, lasts

pytestmark = [pytest.mark.broker, pytest.mark.slow, FORGETFUL]

SEED = 4_005_006
FENCED = "fenced: another process owns this partition"
SESSIONS = {"SESSION_TIMEOUT_MS": "2000"}


def never_ended(work: Work) -> list[int]:
    """How ingest and serving ended when they were asked to; more than two, if they ended before."""
    return [code for service in work.services for code in service.exits]


@dataclass(frozen=True)
class Outcome:
    """What a case leaves to be held: how the services ended, and what each said when asked whether it was ready."""

    exits: list[int]
    ready: dict[str, list[bool]]


def away(net: Net, folder: Path, absence: AbstractContextManager[None], seconds: float = 0) -> Outcome:
    """The broker is away in mid-work, and comes back: what came of it, already judged."""
    with Work(net, folder, seed=SEED) as work:
        with Watch(work.ingest.ready) as ingest, Watch(work.serving.ready) as serving:
            wait_for(lambda: ingest.answers[-1:] == serving.answers[-1:] == [True], "both are ready")
            with absence:
                lasts(seconds)
            took_s = work.goes_on()
            print(f"work goes on after {took_s:.1f} s")  # noqa: T201 - how long people wait
            wait_for(lambda: ingest.answers[-1] and serving.answers[-1], "both are ready again")
        work.finish()
        return Outcome(never_ended(work), {"ingest": ingest.answers, "serving": serving.answers})


@pytest.fixture(scope="module")
def slept(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Five seconds of SIGSTOP: longer than the session timeout and shorter than every request's."""
    return away(net, tmp_path_factory.mktemp("slept"), net.paused(), 5)


def test_each_event_is_predicted_once_when_the_broker_is_killed(net: Net, tmp_path: Path) -> None:
    """SIGKILL, and half a second later a new one on the same data: the same services go on, nobody was restarted."""
    outcome = away(net, tmp_path, net.gone(signal.SIGKILL, 0.5))

    assert [0, 0] == outcome.exits


def test_each_event_is_predicted_once_when_the_broker_sleeps(slept: Outcome) -> None:
    """The same services go on when it wakes, nobody was restarted, and the judge has found nothing wrong."""
    assert [0, 0] == slept.exits


@pytest.mark.parametrize("service", ["ingest", "serving"])
def test_readiness_is_lost_with_the_broker_and_comes_back_by_itself(slept: Outcome, service: str) -> None:
    """I7: while the broker sleeps the service says that it is not ready, and says so no more when it is back."""
    answers = slept.ready[service]

    assert [True, False, True] == [answers[0], min(answers), answers[-1]]


def assigned(service: Service) -> set[int]:
    """The partitions that it says it was given last."""
    said = service.said("lanes assigned")
    return set(said[-1]["numbers"]) if said else set()


def test_a_zombie_is_fenced(net: Net, tmp_path: Path) -> None:
    """A process sleeps in mid-commit past its session; another takes over; the sleeper wakes and commits in vain.

    It says that it was fenced and ends with status 1, as the bus promises, and its supervisor starts it again; or, if
    it slept past its commit's timeout, it gives the commit up, is fenced when it aborts, and joins anew. What it had
    written by then is in the log and was aborted: no reader has seen it.
    """
    with Work(net, tmp_path, seed=SEED, lives=("commit.before-end=stop@100",), **SESSIONS) as work:
        sleeper = work.serving
        wait_for(lambda: is_stopped(sleeper.pid), "it sleeps in mid-commit")
        owned = assigned(sleeper)
        heir = work.another_serving(**SESSIONS)
        wait_for(lambda: assigned(heir) == owned, "another one has taken over")
        work.goes_on()
        assert [] == sleeper.exits, "it slept all the while"
        sleeper.kill(signal.SIGCONT)
        wait_for(lambda: len(sleeper.said("lanes assigned")) >= 2, lambda: f"it is back:\n{sleeper.tail()}")
        work.goes_on()
        work.finish()

    assert {0, 1} == owned
    assert ["commit.before-end"] == sleeper.reached()
    assert sleeper.exits in ([1, 0], [0])
    assert any(FENCED in str(line) or "ProducerFenced" in str(line) for line in sleeper.lines()), sleeper.tail()
    assert aborted(work.scene, work.scene.topic(topics.PREDICTIONS)), "it had written something by then"


@pytest.mark.matrix
@pytest.mark.parametrize("pause_s", [0.5, 3, 10])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_the_broker_goes_for_a_while(net: Net, tmp_path: Path, number: signal.Signals, pause_s: float) -> None:
    """As above, for each way and for pauses around the session, transaction and request timeouts."""
    assert [0, 0] == away(net, tmp_path, net.gone(number, pause_s)).exits


@pytest.mark.matrix
@pytest.mark.parametrize("seconds", [1, 5, 12, 35])
def test_the_broker_sleeps_for_a_while(net: Net, tmp_path: Path, seconds: float) -> None:
    """35 s are past the session (2 s), request and commit (10 s), transaction (15 s) and call (20 s) timeouts."""
    assert [0, 0] == away(net, tmp_path, net.paused(), seconds).exits


@pytest.mark.matrix
@pytest.mark.parametrize("hit", [20, 101, 333])
@pytest.mark.parametrize("point", ["commit.begin", "commit.after-offsets", "commit.mid-send", "commit.after-end"])
def test_zombies_of_every_kind(net: Net, tmp_path: Path, point: str, hit: int) -> None:
    """Wherever in a commit it fell asleep: whether it is fenced or has nothing left to say, nothing is doubled."""
    with Work(net, tmp_path, seed=SEED + hit, lives=(f"{point}=stop@{hit}",), **SESSIONS) as work:
        sleeper = work.serving
        wait_for(lambda: is_stopped(sleeper.pid), "it sleeps")
        heir = work.another_serving(**SESSIONS)
        wait_for(lambda: assigned(heir) == {0, 1}, "another one has taken over")
        work.goes_on()
        sleeper.kill(signal.SIGCONT)
        wait_for(lambda: sleeper.exits or len(sleeper.said("lanes revoked")) >= 1, "it has noticed")
        sleeper.wait_ready()
        work.goes_on()
        work.finish()

    assert [point] == sleeper.reached()
    assert sleeper.exits[-1] in (0, -signal.SIGTERM), "a successor may be told to end before it listens to signals"
    assert sleeper.exits[:-1] in ([], [1])
