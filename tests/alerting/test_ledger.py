"""Which alerts are sent, and which are held back."""

import pytest

from millrace.alerting.ledger import IDS_MAX, Ledger, Verdict
from millrace.contracts.monitor_events import AlertHandled, AlertRaised
from tests.alerting.alerts import AT_MS, HOUR_MS, handled, raised


def ledger(*handlings: AlertHandled) -> Ledger:
    """A ledger that holds repetitions back for an hour and what is acknowledged for a day."""
    made = Ledger(HOUR_MS, 24 * HOUR_MS)
    for handling in handlings:
        made.handled(handling)
    return made


def take(book: Ledger, alert: AlertRaised, at_ms: int = AT_MS) -> Verdict:
    """Judge and settle at once."""
    verdict = book.judge(alert, at_ms, at_ms)
    book.settle(alert, verdict, at_ms)
    return verdict


def test_a_matter_is_sent_once_until_the_time_is_over():
    """The second within the hour is held back, the one after it is sent and tells how many there were."""
    book = ledger()

    assert ["send", "repeated", "repeated"] == [take(book, raised(n), AT_MS + n) for n in (1, 2, 3)]
    late = raised(4)
    assert (2, AT_MS + 1) == (book.notification(late).held_back, book.notification(late).since_ms)
    assert "send" == take(book, late, AT_MS + 1 + HOUR_MS)
    assert 0 == book.notification(raised(5)).held_back


@pytest.mark.parametrize("other", [{"service": "ingest"}, {"reason": "drift-persists"}, {"subject": "tiny version 2"}])
def test_another_matter_is_sent(other):
    """Service, reason and subject tell alerts apart."""
    book = ledger()

    assert ["send", "send"] == [take(book, raised(1)), take(book, raised(2, **other))]


def test_the_same_alert_is_sent_once_for_ever():
    """Also after the hour: who writes at least once writes the same id again."""
    book = ledger()

    assert ["send", "repeated"] == [take(book, raised(1)), take(book, raised(1), AT_MS + 2 * HOUR_MS)]
    assert 0 == book.notification(raised(2)).held_back, "it was no second one"


def test_what_becomes_critical_is_sent_at_once():
    """A warning and an acknowledgement hold back no critical alert of the same matter; a critical one does."""
    book = ledger()
    take(book, raised(1))
    book.handled(handled("ACKNOWLEDGED", alert_id="alert/1"))

    assert "send" == take(book, raised(2, severity="CRITICAL"), AT_MS + 1)
    assert "acknowledged" == take(book, raised(3, severity="CRITICAL"), AT_MS + 2)


SILENCES = [
    ({"service": "monitor"}, True),
    ({"reason": "drift", "subject": "tiny version 1"}, True),
    ({"alert_id": "alert/1"}, True),
    ({}, True),
    ({"service": "ingest"}, False),
    ({"reason": "drift", "subject": "tiny version 2"}, False),
    ({"alert_id": "alert/9"}, False),
]


@pytest.mark.parametrize(("about", "silent"), SILENCES)
def test_a_silence_holds_back_what_it_names(about, silent):
    """What it leaves out is any; it ends at its time."""
    book = ledger(handled("SILENCED", until_ms=AT_MS + HOUR_MS, **about))

    verdicts = [book.judge(raised(1), at, at) for at in (AT_MS, AT_MS + HOUR_MS - 1, AT_MS + HOUR_MS)]

    assert (["silenced", "silenced", "send"] if silent else ["send"] * 3) == verdicts


def test_a_silence_on_one_alert_is_on_its_matter():
    """Who silences an alert that was sent wants no other of the kind."""
    book = ledger()
    take(book, raised(1))
    book.handled(handled("SILENCED", alert_id="alert/1", until_ms=AT_MS + 9 * HOUR_MS))

    assert "silenced" == take(book, raised(2), AT_MS + 2 * HOUR_MS)


@pytest.mark.parametrize(
    ("end", "silent"), [({"service": "monitor"}, False), ({}, False), ({"service": "ingest"}, True)]
)
def test_a_silence_can_be_ended(end, silent):
    """By the same words, or by fewer."""
    book = ledger(
        handled("SILENCED", service="monitor", until_ms=AT_MS + HOUR_MS), handled("UNSILENCED", AT_MS + 1, **end)
    )

    assert silent == (take(book, raised(1), AT_MS + 2) == "silenced")


def test_what_was_silent_when_it_was_raised_stays_silent():
    """A route that was dead does not send it when the silence is over."""
    book = ledger(handled("SILENCED", until_ms=AT_MS + HOUR_MS))

    assert "silenced" == book.judge(raised(1), AT_MS + 1, AT_MS + 2 * HOUR_MS)


def test_an_acknowledgement_holds_for_a_day():
    """Somebody looks at it; the next day it is sent again."""
    book = ledger()
    take(book, raised(1))
    book.handled(handled("ACKNOWLEDGED", AT_MS, alert_id="alert/1"))

    times = [AT_MS + 2 * HOUR_MS, AT_MS + 24 * HOUR_MS]
    assert ["acknowledged", "send"] == [take(book, raised(n), at) for n, at in enumerate(times, start=2)]


def test_a_remark_changes_nothing():
    """NOTED is for people."""
    book = ledger(handled("NOTED", alert_id="alert/1"))

    assert "send" == take(book, raised(1))


def test_memory_is_bounded():
    """The oldest are forgotten."""
    book = ledger()
    for number in range(IDS_MAX + 5):
        take(book, raised(number, subject=str(number)))

    assert (IDS_MAX, IDS_MAX) == (len(book._ids), len(book._sent))
    assert "repeated" == book.judge(raised(IDS_MAX, subject=str(IDS_MAX)), AT_MS, AT_MS)
