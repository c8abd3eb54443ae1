"""When too many records are refused: what counts, where the limit breaks, and that cuts and restarts change nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.data_policy import DeadLetterLimit
from millrace.contracts.errors import MillraceError
from services.ingest.limit import REPEATS, Breach, DeadLetterLimitError, Refusal, RefusalLimit, counts

WINDOW = 10


def outcomes(text: str, start: int = 0) -> list[Refusal | None]:
    """A letter for a record, by offset: ``.`` is admitted, ``x`` out of range, ``u`` undecodable."""
    reasons = {"x": "out-of-range", "u": "undecodable"}
    return [None if sign == "." else Refusal(start + place, reasons[sign]) for place, sign in enumerate(text)]


def judged(text: str) -> list[tuple[int, str | None]]:
    """The same as it is rebuilt from the log."""
    return [(place, one.reason if one else None) for place, one in enumerate(outcomes(text))]


def limit(share: float = 0.5, window_rows: int = WINDOW) -> RefusalLimit:
    """Breaks at the sixth of ten, unless told otherwise."""
    return RefusalLimit(DeadLetterLimit(share=share, window_rows=window_rows))


def breaks_at(text: str, share: float = 0.5) -> int | None:
    """Offset of the record that breaks the limit, or None."""
    breach = limit(share).judge(outcomes(text))
    return breach.last.offset if breach else None


@pytest.mark.parametrize(
    ("text", "share", "expected"),
    [
        ("", 0.5, None),
        (".........." * 3, 0.5, None),
        ("xxxxx", 0.5, None),  # it has just begun: five of ten are allowed, wherever they stand
        ("xxxxx.....", 0.5, None),
        ("xxxxxx", 0.5, 5),  # whatever the next four are, it will be six of ten
        ("..........xxxxx", 0.5, None),
        ("..........xxxxxx", 0.5, 15),
        (".x" * 30, 0.5, None),  # exactly the share is allowed
        (".x" * 10 + "x", 0.5, 20),
        ("xxxxx.....xxxxx.....", 0.5, None),  # an old refusal leaves as the new one comes
        ("x" * 9, 0.9, None),
        ("x" * 10, 0.9, 9),
        ("." * 9 + "x" + "." * 20, 0.09, 9),
        ("x" * 100, 1, None),  # a share of 1 never stops
    ],
)
def test_the_limit_breaks_where_more_than_the_share_is_refused(text: str, share: float, expected: int | None) -> None:
    """Of the newest ten records; those that have not come yet count as admitted."""
    assert expected == breaks_at(text, share)


@pytest.mark.parametrize(("share", "window"), [(0.57, 100), (0.29, 100), (0.7, 10), (0.07, 200), (0.9, 2_000)])
def test_exactly_the_share_is_allowed(share: float, window: int) -> None:
    """Also for shares that have no exact binary form."""
    allowed = round(share * window)

    assert limit(share, window).judge(outcomes("x" * allowed)) is None
    assert limit(share, window).judge(outcomes("x" * (allowed + 1))) is not None


@pytest.mark.parametrize(
    ("reason", "replayed", "expected"),
    [
        (None, False, True),
        (None, True, True),  # its sample does not say that it was sent back, and a restart reads the samples
        ("out-of-range", False, True),
        ("label-without-event", False, True),
        ("out-of-range", True, False),
        *((reason, False, False) for reason in sorted(REPEATS)),
    ],
)
def test_repeats_and_replays_are_no_bad_deploy(reason: str | None, replayed: bool, expected: bool) -> None:  # noqa: FBT001
    """A topic that is sent once more, or letters sent back before the fix was complete, do not stop ingest."""
    assert expected == counts(reason, replayed=replayed)


def breach(text: str) -> Breach:
    """How the limit is broken by these."""
    found = limit().judge(outcomes(text, 100))
    assert found is not None
    return found


def test_a_breach_tells_what_was_seen() -> None:
    """Of the window, not of what was refused before it."""
    found = breach("u........." + "." + "xxuxxx")

    assert (6, 10, 0.6, 0.5) == (found.refused, found.window_rows, found.share, found.limit)
    assert {"out-of-range": 5, "undecodable": 1} == found.counts
    assert ["out-of-range", "undecodable"] == list(found.counts)
    assert (Refusal(111, "out-of-range"), Refusal(116, "out-of-range")) == (found.first, found.last)


def test_the_error_names_the_values_and_the_ways_out() -> None:
    """It is not retryable: the same records would be refused again."""
    found = limit().judge([*outcomes("uxxxx"), Refusal(5, "out-of-range", "field 'x' is 99.0")])
    assert found is not None

    error = found.error("tiny-events", 3)

    assert isinstance(error, DeadLetterLimitError)
    assert isinstance(error, MillraceError)
    assert not error.retryable
    for part in (
        "tiny-events/3: 6 of the newest 10 records",
        "(5 out-of-range, 1 undecodable)",
        "that is 60.0%, more than data.dead_letters.share 0.5",
        "at offset 0, the newest at 5 (field 'x' is 99.0)",
        "raise data.dead_letters.share",
        "start ingest again",
    ):
        assert part in str(error)


TEXTS = st.text("..xu", max_size=60)
CUTS = st.lists(st.integers(0, 60), max_size=6)


def in_batches(text: str, cuts: list[int], judge: RefusalLimit, start: int = 0) -> Breach | None:
    """Judge the text from ``start`` on, cut at these places; what was admitted as a whole is only counted."""
    edges = sorted({start, len(text), *(cut for cut in cuts if start < cut < len(text))})
    for begin, end in pairwise(edges):
        batch = outcomes(text[begin:end], begin)
        if not any(batch):
            judge.admit(len(batch))
        elif found := judge.judge(batch):
            return found
    return None


def oracle(text: str, share: float = 0.5) -> int | None:
    """The rule, word for word."""
    for place in range(len(text)):
        if sum(sign != "." for sign in text[max(0, place + 1 - WINDOW) : place + 1]) > share * WINDOW:
            return place
    return None


@given(text=TEXTS, cuts=CUTS)
def test_how_records_are_cut_into_batches_does_not_matter(text: str, cuts: list[int]) -> None:
    """The same record breaks the limit, with the same window."""
    assert limit().judge(outcomes(text)) == (found := in_batches(text, cuts, limit()))
    assert oracle(text) == (found.last.offset if found else None)


@given(text=TEXTS, cuts=CUTS, restart=st.integers(0, 60), seed=st.randoms(use_true_random=False))
def test_a_restart_does_not_matter(text: str, cuts: list[int], restart: int, seed) -> None:
    """The window is rebuilt from what the log holds, in any order and in any number of pages."""
    here = min(restart, len(text))
    expected = in_batches(text, cuts, limit())
    if expected and expected.last.offset < here:
        return  # it did not get that far
    known = judged(text[:here])
    seed.shuffle(known)
    again = limit()
    for begin in range(0, len(known), 7):
        again.take(known[begin : begin + 7])

    assert expected == in_batches(text, cuts, again, here)


def test_a_page_that_is_read_twice_does_not_count_twice() -> None:
    """Records are known by their offsets."""
    again = limit()
    again.take(judged("xxxx"))
    again.take(judged("xxxx"))

    assert 4 == again.refused


def test_of_a_long_log_the_newest_records_count() -> None:
    """Page by page, the newest first or last."""
    text = "x" * 300 + "." * 8 + "xx"
    pages = [judged(text)[begin : begin + 9] for begin in range(0, len(text), 9)]
    for order in (pages, pages[::-1]):
        again = limit()
        for page in order:
            again.take(page)
        assert 2 == again.refused


def test_an_empty_log_is_an_empty_window() -> None:
    """The first start."""
    again = limit()
    again.take([])

    assert again.judge(outcomes("xxxxx")) is None


def test_a_restart_keeps_its_window_though_the_first_batch_is_clean() -> None:
    """Counting admitted records does not stand in the way of what the log told before."""
    again = limit()
    again.take(judged("xxxxx"))
    again.admit(1)

    assert again.judge(outcomes("x", 6)).last == Refusal(6, "out-of-range")
