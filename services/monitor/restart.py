"""How a partition begins: from the newest saved state, or from the beginning of its observations."""

import asyncio
from dataclasses import replace

from millrace.bus.context import Context
from millrace.bus.types import Bounds, OutRecord
from millrace.contracts import topics
from millrace.contracts.errors import ContractError
from millrace.contracts.events import ObservationsRecorded
from millrace.contracts.topics import topic_name
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import VERSIONS_WITHOUT_PROFILE
from services.monitor.control import Control
from services.monitor.facts import Unreadable
from services.monitor.partition import Partition
from services.monitor.policy import Policy
from services.monitor.saving import Saved, StateTopic, meaning
from services.monitor.watch import Watch

log = get_logger(__name__)


class Restart:
    """Brings partitions to where their newest saved state is.

    Args:
        context: project, transport and codec.
        policy: what counts.
        control: has the training profiles.
    """

    def __init__(self, context: Context, policy: Policy, control: Control) -> None:
        self._context = context
        self._policy = policy
        self._control = control
        self._topic = topic_name(topics.OBSERVATIONS, context.project)
        self._config_hash = meaning(context.project, policy)
        self._unfit: dict[int, int] = {}  # by partition: a state that could not be restored, by its samples offset

    def records(self, partition: Partition, saved: Saved, now_ms: int) -> list[OutRecord]:
        """The state as records."""
        return self._states(partition.number).records(saved, now_ms)

    async def begin(self, partition: Partition) -> None:
        """The first time that this process has the partition. After an error it can be called again.

        The partition's earlier owner must be fenced, so that it cannot save anything afterwards.
        """
        await self._control.refresh()  # what is restored may compare with the training rows of its champion
        bounds = await self._context.transport.bounds(self._topic, partition.number)
        saved = await self._states(partition.number).newest()
        if isinstance(saved, str) or not await self._restored(partition, saved, bounds):
            partition.begin(self._watch(), bounds.begin)
            why = saved if isinstance(saved, str) else "it is not what this release saves"
            log.info("monitor reads all observations", partition=partition.number, start=bounds.begin, why=why)
        partition.is_restored = True

    async def forward(self, partition: Partition) -> bool:
        """After somebody else had the partition: take over what was saved meanwhile. Returns whether there was any."""
        saved = await self._states(partition.number).newest()
        known = isinstance(saved, Saved) and saved.until_sample_offset == self._unfit.get(partition.number)
        if known or isinstance(saved, str) or saved.until_offset <= partition.next_offset:
            return False
        if saved.until_offset > (await self._context.transport.bounds(self._topic, partition.number)).end:
            return False  # of a log that is no more, and taken over at the beginning
        partition.is_restored = False
        await self.begin(partition)
        return True

    async def _restored(self, partition: Partition, saved: Saved, bounds: Bounds) -> bool:
        begin = bounds.begin
        try:
            partition.restore(self._watch(), saved)
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # whatever another form provokes
            log.warning("saved state left out", partition=partition.number, error=repr(error))
            self._unfit[partition.number] = saved.until_sample_offset
            return False
        if saved.until_offset > bounds.end:
            self._begin_anew(partition, saved, bounds)
            return True
        start = max(begin, saved.join_from_offset)
        stop = saved.until_offset + 1  # the frame in which the state ends may be in it in part
        rows = 0
        if start < stop:
            async for records in self._context.transport.read(self._topic, partition.number, start, stop):
                for record in records:
                    rows += await self._remember(partition, record.offset, record.value, saved)
                    await asyncio.sleep(0)  # leaves room for heartbeats
        if begin > saved.until_offset:
            lost = f"offsets {saved.until_offset} to {begin} were removed by the broker before they were read"
            partition.next_offset, partition.pending = begin, [Unreadable(self._topic, saved.until_offset, lost)]
        log.info(
            "monitor goes on from saved state", partition=partition.number, until_offset=saved.until_offset,
            until_sample_offset=saved.until_sample_offset, join_from_offset=start, rows_read_again=rows,
        )  # fmt: skip
        return True

    def _begin_anew(self, partition: Partition, saved: Saved, bounds: Bounds) -> None:
        """Go on from the saved state with a topic that is another one: deleted and made anew, or restored from a copy.

        The samples log tells where the state is, so frames that are in it already are passed over. The state is saved
        once more at once: when the new topic has grown as long as the old one was, nothing would tell them apart.
        """
        lost = (
            f"the topic ends at offset {bounds.end}, before the saved state, which is of offset {saved.until_offset}: "
            "it was made anew, and predictions that waited for their labels then are forgotten"
        )
        partition.next_offset, partition.pending = bounds.begin, [Unreadable(self._topic, bounds.begin, lost)]
        partition.saving = replace(saved, until_offset=bounds.begin, join_from_offset=bounds.begin)
        partition.is_rebased = True
        log.error("observations were made anew", partition=partition.number, detail=lost)

    async def _remember(self, partition: Partition, offset: int, value: bytes | None, saved: Saved) -> int:
        try:
            observed = await self._context.codec.decode(ObservationsRecorded, value)
            await self.know(observed.champion_version)
            partition.remember(offset, observed, saved)
        except ContractError:
            return 0  # it was reported when it was taken
        return observed.rows

    async def know(self, champion: int) -> None:
        """Have read the profile of the version that serves, before its frame is taken."""
        await self._control.know(champion)
        without = champion > 0 and self._control.profile(champion) is None
        VERSIONS_WITHOUT_PROFILE.labels(self._context.project.model).set(int(without))

    def _watch(self) -> Watch:
        return Watch(self._policy, self._control.profile)

    def _states(self, number: int) -> StateTopic:
        return StateTopic(self._context, number, self._config_hash)
