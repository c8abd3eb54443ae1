"""Rules with memory: what the newest admitted rows of a partition say about the next one. Pure.

- ``jump`` and ``monotone`` compare a record with what was admitted of its entity, ``unique`` with what was admitted in
  the partition, and the policy for late events (``data.late``) with the newest event time of the entity.
- Only what was admitted is remembered. So where a jump rejects and the level of a field moves for good, every record
  on the new level is rejected until the field comes back: ``action: flag`` is the choice for such a field.
- A value that is missing (null or NaN) is no jump and leaves the memory as it is. As in SQL, a combination of fields
  of which one is missing is never a repetition.
- What was taken in is compared as it is: where fields are personal, hand over what the samples log has of them, the
  pseudonyms, in judging as in taking.
- The same rows in the same order give the same memory, whether they came in one run, from the samples log, or through
  ``save`` and ``restore``.
- Memory is bounded: ``unique`` keeps the newest ``dedupe.events`` combinations, each as a digest of 16 bytes (so no
  value of it is written to the saved state). An entity is forgotten when its newest event lies more than
  ``entities.expire_after_s`` behind the newest of all; that is looked at every ``EXPIRE_EVERY_ROWS`` rows.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from millrace.contracts.data_policy import OnBreach
from millrace.contracts.expectations import Jump, Monotone, Rule, Unique
from millrace.contracts.project import Project
from services.ingest.sequence_state import DIGEST_BYTES, Known, Memory, pack, unpack

EXPIRE_EVERY_ROWS = 10_000  # as often as features forget theirs
LATE = "late-event"
Value = float | str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said about a record: why it is rejected, in a word and in a sentence, and the flags that it carries."""

    reason: str | None = None
    message: str = ""
    flags: tuple[str, ...] = ()


PASSES = Verdict()


class _Broken(NamedTuple):
    on: OnBreach
    slug: str
    flag: str
    message: str


class _Behind(NamedTuple):
    """A limit to how far a record may be behind the newest event time of its entity."""

    on: OnBreach
    slug: str
    slack_ms: float


class Sequence:
    """The rules of one partition that look back. ``rules`` are those of model.yaml; the others are left aside.

    The caller judges a record before it is admitted and hands it to ``take`` when it was, in the order of the log.
    ``fields`` are all that either looks at; where ``is_idle``, nothing was declared and neither needs to be called.
    """

    def __init__(self, project: Project, rules: Iterable[Rule]) -> None:
        rules = tuple(rules)
        late = project.data.late
        jumps = [rule for rule in rules if isinstance(rule, Jump)]
        self._watched = tuple(dict.fromkeys(rule.field for rule in jumps))
        self._jumps = [(self._watched.index(rule.field), rule) for rule in jumps]
        self._uniques = [rule for rule in rules if isinstance(rule, Unique)]
        self._behind = [
            _Behind(rule.on, rule.slug, 1000 * rule.slack_s) for rule in rules if isinstance(rule, Monotone)
        ]
        if late.policy != "accept":
            self._behind.append(_Behind(late.policy, LATE, 1000 * late.allowed_s))
        combinations = dict.fromkeys(rule.fields for rule in self._uniques)
        self.fields = tuple(sorted({*self._watched, *(name for fields in combinations for name in fields)}))
        self.is_idle = not (self._jumps or self._uniques or self._behind)
        self._by_entity = bool(self._jumps or self._behind)
        self._personal = project.personal_fields
        self._remembered = project.dedupe.events
        expire_s = project.data.entities.expire_after_s
        self._expire_ms = None if expire_s is None else 1000 * expire_s
        self._memory = Memory(seen={fields: OrderedDict() for fields in combinations})
        self._newest_digest: dict[tuple[str, ...], tuple[Any, bytes | None]] = dict.fromkeys(combinations, (None, None))

    # ---- judging -----------------------------------------------------------------------------------------------

    def judge(self, entity: str, time_ms: int, values: Mapping[str, Value]) -> Verdict:
        """What the rules say about this record as the next one. Nothing is remembered of it."""
        broken: list[_Broken] = []
        known = self._memory.entities.get(entity) if self._by_entity else None
        if known is not None:
            self._compare(known, time_ms, values, broken)
        for rule in self._uniques:
            digest = self._digest(rule.fields, values)
            if digest in self._memory.seen[rule.fields]:
                broken.append(_Broken(rule.on, rule.slug, rule.flag(), self._repeated(rule, values)))
        if not broken:
            return PASSES
        rejected = next((one for one in broken if one.on == "reject"), None)
        flags = tuple(dict.fromkeys(one.flag for one in broken if one.on == "flag"))
        return Verdict(flags=flags) if rejected is None else Verdict(rejected.slug, rejected.message, flags)

    def _compare(self, known: Known, time_ms: int, values: Mapping[str, Value], broken: list[_Broken]) -> None:
        """Add what the record breaks beside the earlier ones of its entity."""
        newest_ms, before = known
        for on, slug, slack_ms in self._behind:
            if time_ms < newest_ms - slack_ms:
                broken.append(_Broken(on, slug, slug, _behind(newest_ms - time_ms, slack_ms)))
        for place, rule in self._jumps:
            last, value = before[place], _number(values.get(rule.field))
            if last is not None and value is not None and abs(value - last) > rule.most:
                broken.append(_Broken(rule.on, rule.slug, rule.flag(), self._jumped(rule, last, value)))

    def _repeated(self, rule: Unique, values: Mapping[str, Value]) -> str:
        shown = {name: "(personal)" if name in self._personal else values[name] for name in rule.fields}
        return (
            f"the combination {shown} was already admitted; "
            f"it is expected once among the newest {self._remembered} of a partition"
        )

    def _jumped(self, rule: Jump, last: float, value: float) -> str:
        if rule.field in self._personal:
            return f"field {rule.field!r} (personal) jumped by more than {rule.most} from its entity's previous row"
        return (
            f"field {rule.field!r} is {value}, {abs(value - last):g} from the {last} of its entity's previous row; "
            f"expected a change of at most {rule.most}"
        )

    # ---- remembering -------------------------------------------------------------------------------------------

    def take(self, entity: str, time_ms: int, values: Mapping[str, Value]) -> None:
        """Remember an admitted record."""
        memory = self._memory
        if self._by_entity:
            known = memory.entities.get(entity)
            numbers = tuple([_number(values.get(name)) for name in self._watched])
            if known is not None:
                newest_ms, before = known
                if None in numbers:
                    numbers = tuple([old if new is None else new for new, old in zip(numbers, before, strict=True)])
                memory.entities[entity] = (max(time_ms, newest_ms), numbers)
            else:
                memory.entities[entity] = (time_ms, numbers)
        for fields, seen in memory.seen.items():
            digest = self._digest(fields, values)
            if digest is None:
                continue
            seen.pop(digest, None)  # one that comes again is the newest again
            seen[digest] = None
            if len(seen) > self._remembered:
                seen.popitem(last=False)
        memory.newest_ms = time_ms if memory.newest_ms is None else max(memory.newest_ms, time_ms)
        memory.rows += 1
        if memory.rows % EXPIRE_EVERY_ROWS == 0:
            self._expire(memory.newest_ms)

    def _expire(self, newest_ms: int) -> None:
        if self._expire_ms is None:
            return
        oldest_ms = newest_ms - self._expire_ms
        entities = self._memory.entities
        self._memory.entities = {name: known for name, known in entities.items() if known[0] >= oldest_ms}

    def _digest(self, fields: tuple[str, ...], values: Mapping[str, Value]) -> bytes | None:
        """The digest of these fields; who judges a record and then takes it in asks twice in a row."""
        combination = tuple([values.get(name) for name in fields])
        last, digest = self._newest_digest[fields]
        if combination != last:
            digest = _digest_of(combination)
            self._newest_digest[fields] = (combination, digest)
        return digest

    # ---- recovery ----------------------------------------------------------------------------------------------

    def save(self) -> list[bytes]:
        """The memory in parts of less than 500 kB; none where nothing is declared."""
        return [] if self.is_idle else pack(self._memory, self._watched)

    def restore(self, frames: Iterable[bytes]) -> None:
        """Put a saved memory in the place of this one.

        Raises:
            ValueError: the parts are damaged, incomplete, or of other rules than these; nothing has changed then. The
                memory can be rebuilt by taking in the samples of the log.
        """
        frames = list(frames)
        if not (self.is_idle and not frames):
            self._memory = unpack(frames, self._watched, tuple(self._memory.seen), self._remembered)


def _number(value: Value) -> float | None:
    """A number, or None where there is none."""
    return None if value is None or isinstance(value, str) or math.isnan(value) else float(value)


def _digest_of(combination: tuple[Value, ...]) -> bytes | None:
    """What is remembered of a combination: equal for equal values, 1 and 1.0 alike. None if one of them is missing."""
    parts: list[Value] = []
    for value in combination:
        if value is None or value != value:  # noqa: PLR0124  # NaN, and quicker than asking for the type first
            return None
        is_whole = isinstance(value, int | float) and float(value).is_integer()
        parts.append(int(value) if is_whole else value)
    return hashlib.blake2b(repr(parts).encode(), digest_size=DIGEST_BYTES).digest()


def _behind(by_ms: float, slack_ms: float) -> str:
    return (
        f"the event's time is {by_ms / 1000:g} s behind the newest of its entity, "
        f"at most {slack_ms / 1000:g} s are expected"
    )
