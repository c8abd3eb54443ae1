"""What a question is about: a prediction, a run, a version, an event, or a place in the log. Pure."""

import re
from dataclasses import dataclass
from typing import Literal

from millrace.contracts.errors import MillraceError

Kind = Literal["prediction", "run", "version", "event", "place"]
FORMS = (
    "a prediction id (<model>/<stream>-samples/<partition>/<offset>[/<variant>]), a run id (run-…), a version (v3 or "
    "version 3), event:<event id>, or a place in the log (<topic>/<partition>/<offset>)"
)
_VERSION = re.compile(r"(?:version\s+|v)([0-9]+)", re.IGNORECASE)
_PREDICTION = re.compile(
    r"(?P<model>[^/]+)/(?P<topic>[^/]+)/(?P<partition>[0-9]+)/(?P<offset>[0-9]+)(?:/(?P<variant>.+))?"
)
_PLACE = re.compile(r"(?P<topic>[^/]+)/(?P<partition>[0-9]+)/(?P<offset>[0-9]+)")


class LineageError(MillraceError):
    """The question is not understood, or nothing is known about what it names; the message says where was looked."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A question that is understood. ``name`` is the id; the fields below are set where the kind has them."""

    kind: Kind
    name: str
    version: int = 0
    topic: str = ""
    partition: int = 0
    offset: int = 0


def parse(what: str) -> Subject:
    """Understand the question.

    >>> parse("tiny/tiny-samples/0/17")
    Subject(kind='prediction', name='tiny/tiny-samples/0/17', version=0, topic='tiny-samples', partition=0, offset=17)
    >>> parse("version 3").version, parse("v3").version, parse("event:e 1/2/3").name, parse("a-events/1/2").offset
    (3, 3, 'e 1/2/3', 2)

    Raises:
        LineageError: it has none of the forms.
    """
    what = what.strip()
    if what.startswith("event:") and len(what) > len("event:"):
        return Subject("event", what.removeprefix("event:"))
    if what.startswith("run-"):
        return Subject("run", what)
    if match := _VERSION.fullmatch(what):
        return Subject("version", f"v{int(match[1])}", version=int(match[1]))
    if match := _PREDICTION.fullmatch(what):
        place = (match["topic"], int(match["partition"]), int(match["offset"]))
        return Subject("prediction", what, 0, *place)
    if match := _PLACE.fullmatch(what):
        return Subject("place", what, 0, match["topic"], int(match["partition"]), int(match["offset"]))
    raise LineageError(f"{what!r} is not understood; give {FORMS}")
