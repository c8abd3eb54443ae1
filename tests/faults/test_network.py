"""Fault 7: the network between the services and the broker is cut, slow, silent or reset, also in mid-commit."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.harness import wait_for
from tests.faults.net import Net, Work, lasts

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SEED = 7_001
CUT_S = 1.5
DELAY_S = 0.2
DELAYED_S = 2.0
HALF_OPEN_S = 3.0  # past the session timeout of 2 s
END_TXN_CUTS = 3
RESETS = 8
RESET_EVERY_S = 0.25


def cut(work: Work, seconds: float = CUT_S) -> None:
    """Every connection is closed, and for a while none can be made."""
    proxy = work.net.proxy
    refused = proxy.seen["refused"]
    assert proxy.cut() >= 2, "connections were cut"
    lasts(seconds)
    assert proxy.seen["refused"] > refused, "the services tried to connect meanwhile"
    proxy.mend()


def slow_line(work: Work, seconds: float = DELAYED_S) -> None:
    """Every frame takes 200 ms, each way. The work goes on all the while."""
    proxy = work.net.proxy
    proxy.delay(DELAY_S)
    lasts(seconds)
    took_s = work.goes_on()
    proxy.mend()
    assert took_s > 2 * DELAY_S, "a commit cannot be faster than its round trips"


def reset_storm(work: Work, resets: int = RESETS) -> None:
    """Every connection is reset, again and again, before the services have found their feet."""
    for _ in range(resets):
        assert work.net.proxy.reset() >= 1, "connections were reset"
        lasts(RESET_EVERY_S)


def cut_after_end_txn(work: Work, times: int = END_TXN_CUTS) -> None:
    """The broker commits, and its answer never comes."""
    proxy = work.net.proxy
    before = dict(proxy.seen)
    proxy.cut_end_txn(times)
    wait_for(
        lambda: proxy.seen["end-txn-cut"] >= before.get("end-txn-cut", 0) + times, "commits were cut from their answers"
    )
    wait_for(
        lambda: proxy.seen["end-txn-done"] == before.get("end-txn-done", 0) + times, "the broker committed each of them"
    )


def silence(work: Work, seconds: float = HALF_OPEN_S) -> None:
    """Connections stay open and carry nothing, for longer than the session timeout; those never do again."""
    assert work.net.proxy.half_open() >= 2, "connections fell silent"
    lasts(seconds)
    work.net.proxy.mend()


FAULTS: dict[str, Callable[[Work], None]] = {
    "cut": cut,
    "delay": slow_line,
    "reset": reset_storm,
    "end-txn": cut_after_end_txn,
}


def name(fault: Callable[[Work], None]) -> str:
    """For people."""
    return f"{fault.func.__name__} {fault.keywords}" if isinstance(fault, partial) else fault.__name__


def go_through(net: Net, folder: Path, *faults: Callable[[Work], None], **settings: str) -> None:
    """One after the other; after each the work goes on by itself, and at the end all of it is judged."""
    with Work(net, folder, seed=SEED, through_proxy=True, ingest=settings, **settings) as work:
        for fault in faults:
            fault(work)
            took_s = work.goes_on()
            print(f"{name(fault)}: work goes on after {took_s:.1f} s; {dict(net.proxy.seen)}")  # noqa: T201
        work.finish()
        assert [0, 0] == [code for service in work.services for code in service.exits], "nobody had to be restarted"


def test_each_event_is_predicted_once_through_a_bad_network(net: Net, tmp_path: Path) -> None:
    """Cut, slow, reset, and cut between a commit and its answer: the services come back, nothing is lost or doubled."""
    go_through(net, tmp_path, *FAULTS.values())


def test_each_event_is_predicted_once_after_a_silence(net: Net, tmp_path: Path) -> None:
    """Half-open connections, as a firewall leaves them that forgets: the services give them up and come back.

    Sooner than with the settings as they come, which the matrix has: the case waits for nothing but time-outs.
    """
    go_through(net, tmp_path, silence, REQUEST_TIMEOUT_MS="3000")


@pytest.mark.matrix
@pytest.mark.parametrize(
    "fault",
    [
        partial(cut, seconds=1),
        partial(cut, seconds=3),
        partial(cut, seconds=20),
        partial(slow_line, seconds=10),
        partial(reset_storm, resets=40),
        partial(cut_after_end_txn, times=30),
        partial(silence, seconds=1),
        partial(silence, seconds=20),
    ],
    ids=name,
)
def test_one_kind_of_bad_network_for_long(net: Net, tmp_path: Path, fault: Callable[[Work], None]) -> None:
    """Longer than each timeout, and often."""
    go_through(net, tmp_path, fault)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_of_bad_networks(net: Net, tmp_path: Path, seed: int) -> None:
    """Ten faults in an order that the seed decides, silence among them."""
    rng = random.Random(seed)
    go_through(net, tmp_path, *rng.choices([*FAULTS.values(), silence], k=10))
