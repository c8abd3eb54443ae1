"""Which learned expectations are in force: those of the champion that the newest deployment names.

Two control topics are followed, from their beginning: deployments name an artefact, and what was learned of its
training rows names it too. What is in force changes between two batches, never within one.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from millrace.bus.context import Context
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import run_together
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, MillraceError
from millrace.contracts.events import DeploymentDecided, Event, ExpectationsLearned
from millrace.expectations.learned import LearnedRules
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
FOLLOWED: Mapping[str, type[Event]] = {
    topics.EXPECTATIONS.suffix: ExpectationsLearned,  # first: a deployment names what stands here
    topics.DEPLOYMENTS.suffix: DeploymentDecided,
}


class InForce(NamedTuple):
    """What was learned, and the rules that the project makes of it; None before the first deployment."""

    learned: ExpectationsLearned | None = None
    rules: LearnedRules | None = None


class Following:
    """The expectations that the champion's training rows taught, as far as the log is read."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._learned: dict[str, ExpectationsLearned] = {}  # by the artefact's hash
        self._deployment: DeploymentDecided | None = None
        self._positions: dict[str, int] = {}
        self._in_force = InForce()

    @property
    def current(self) -> ExpectationsLearned | None:
        """What is in force; None before the first deployment, or if its run taught nothing."""
        traffic = self._deployment.traffic if self._deployment else ()
        champions = [part for part in traffic if part.variant == "champion"] or list(traffic)
        champion = max(champions, key=lambda part: part.share, default=None)
        return self._learned.get(champion.artifact_sha256) if champion else None

    @property
    def in_force(self) -> InForce:
        """What is in force; the same object while it is the same."""
        current = self.current
        if self._in_force.learned is not current:
            rules = None if current is None else LearnedRules.of(current, self._context.project)
            self._in_force = InForce(current, rules)
            if rules is not None and rules.left_out:
                log.info("fields that events no longer have are not held to anything", fields=rules.left_out)
        return self._in_force

    async def catch_up(self) -> None:
        """Read what was said so far, so that the first batch is already held to it."""
        for topic, kind in FOLLOWED.items():
            bounds = await self._context.transport.bounds(topic, 0)
            await self._read(topic, kind, bounds.begin, bounds.end)
            self._positions[topic] = bounds.end

    async def follow(self) -> None:
        """Read on until cancelled, after ``catch_up``."""
        await run_together(*(self._follow(topic, kind) for topic, kind in FOLLOWED.items()))

    async def _follow(self, topic: str, kind: type[Event]) -> None:
        failures = 0
        while True:
            try:
                await self._read(topic, kind, self._positions[topic], None)
            except MillraceError as error:
                if not error.retryable:
                    raise
                failures += 1
                log.warning("following is tried again", topic=topic, failures=failures, error=str(error))
                await asyncio.sleep(backoff_s(failures))

    async def _read(self, topic: str, kind: type[Event], start: int, stop: int | None) -> None:
        async for records in self._context.transport.read(topic, 0, start, stop):
            for record in records:
                try:
                    self._take(await self._context.codec.decode(kind, record.value))
                except ContractError as error:
                    log.error("control record left out", topic=topic, offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
                self._positions[topic] = record.offset + 1

    def _take(self, event: Event) -> None:
        if getattr(event, "model", None) != self._context.project.model:
            return
        if isinstance(event, ExpectationsLearned):
            self._learned[event.artifact_sha256] = event
        elif isinstance(event, DeploymentDecided) and (
            self._deployment is None or event.epoch > self._deployment.epoch
        ):
            self._deployment = event
            learned = self.current.expectations_id if self.current else None
            log.info("expectations in force", epoch=event.epoch, expectations_id=learned)
