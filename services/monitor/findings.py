"""What each kind of detector found, as a drift with its evidence."""

from dataclasses import replace
from typing import NamedTuple

from services.monitor.errors_watch import ErrorAlarm
from services.monitor.evidence import Drift, Picture, picture, right_and_wrong
from services.monitor.trail import Trail
from services.monitor.watched import Warned
from services.monitor.windows import WindowDrift


class At(NamedTuple):
    """The champion, and the row at which something was noticed."""

    version: int
    offset: int
    event_id: str
    time_ms: int


def of_alarm(found: ErrorAlarm, subject: str, at: At) -> Drift:
    """A change of an error, as long as nothing says that it may ask."""
    return Drift(
        **at._asdict(),
        subject=subject,
        detector=found.detector,
        severity="WARNING",
        change=found.change,
        parameters=found.parameters,
        since_time_ms=found.since_time_ms,
        since_offset=found.since_offset,
        picture=found.picture,
    )


def of_warning(found: Warned, at: At, trail: Trail, *, exact: bool) -> Drift:
    """A change that a detector beside the asking one found; ``exact`` says that its numbers are 0 or 1, an error."""
    place, subject, change = found.place, found.subject, found.change
    since_ms, since = trail.since(place, subject, change.after_rows, found.only)
    shown = right_and_wrong(change) if exact else picture(*trail.parts(place, subject, change, found.only))
    return Drift(
        **at._asdict(),
        subject=subject,
        detector=found.detector,
        severity="WARNING",
        change=change,
        parameters=dict(found.parameters),
        since_time_ms=since_ms,
        since_offset=since,
        slice=found.slice,
        origin=found.origin,
        picture=shown,
    )


def of_window(found: WindowDrift, at: At) -> Drift:
    """A window that differs from the training rows."""
    change = replace(
        found.change,
        statistic=found.statistic,
        threshold=found.threshold,
        p_value=found.p_value,
        log_e_value=found.log_e_value,
    )
    return Drift(
        **at._asdict(),
        subject=found.subject,
        detector=found.detector,
        severity="WARNING",
        change=change,
        parameters=dict(found.parameters),
        since_time_ms=found.since_time_ms,
        since_offset=found.since_offset,
        origin="windows",
        compared_with="training",
        picture=Picture(found.bins, found.categories, found.before_counts, found.after_counts),
        message=found.message,
    )
