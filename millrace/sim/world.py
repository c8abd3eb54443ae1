"""Five services, an upstream and the log, in one event loop.

Each service has a connection and a codec of its own, as its own process would; they share the log and the schema ids,
nothing else. The seed draws how much each fetch hands over and how long each commit takes, so another seed is another
interleaving; ``Simulation.digest`` is the hash of every byte of every topic.
"""

import asyncio
import contextlib
import hashlib
import math
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.bus.clock import LoopClock
from millrace.bus.context import Context, Service
from millrace.bus.memory import MemoryLog, MemoryTransport
from millrace.bus.tasks import inline, run_together
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.compatibility import register_all
from millrace.contracts.events import RetrainModel, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.topics import TopicRow, specs, topic_name
from millrace.demo.control import CONTROL, Control
from millrace.demo.dataset import DatasetFile
from millrace.demo.ledger import Ledger
from millrace.demo.publish import Publisher
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import make_key
from services.ingest.shell import IngestService
from services.monitor.policy import Policy
from services.monitor.shell import MonitorService
from services.registry.keys import SIGNED, TRUSTED, load_signers
from services.registry.shell import RegistryService
from services.serving.models import Trust
from services.serving.shell import ServingService
from services.serving.verify import TrustedFile
from services.trainer.fitter import fit_inline
from services.trainer.reproduce import repeat
from services.trainer.shell import TrainerService
from services.trainer.train.task import FitResult, FitTask

EPOCH_MS = 1_700_000_000_000  # any moment will do; it must only be the same each time
POLL_S = 0.05
QUIET_S = 12.0  # virtual; longer than a group takes to give a dead member's partitions away, and to catch up
LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation came to, read back from its topics. ``missing`` and ``duplicates`` count valid events."""

    seed: int
    rows: int
    predictions: int
    first_row: int
    missing: int
    duplicates: int
    alarms: int
    requests: int
    versions: list[str]
    drift_caused: int
    accuracy: float
    virtual_s: float
    digest: str


class Simulation:
    """One run. Use ``millrace.sim.virtual_time.run(simulation.run())``.

    Args:
        project: the model project; its ``dataset`` is the upstream.
        folder: where artefacts and the registry's database go.
        seed: draws the interleaving.
        rows: how many rows of the data set are published.
        rate: rows a (virtual) second.
        training_s: virtual seconds that one fit takes.
        after: an earlier simulation to go on from, with its log: its services have ended, its rows are published.
    """

    def __init__(
        self,
        project: Project,
        folder: Path,
        *,
        seed: int,
        rows: int,
        rate: float,
        training_s: float = 1.0,
        after: "Simulation | None" = None,
    ) -> None:
        self._project = project
        self._folder = folder
        self._seed = seed
        self._rate = rate
        self._training_s = training_s
        self._file = DatasetFile(project)
        self._begin = after.rows if after else 0
        self.rows: int = min(rows, self._file.rows)
        self._clock = LoopClock(EPOCH_MS)
        self.log: MemoryLog = after.log if after else MemoryLog()
        self.schemas: LocalSchemas = after.schemas if after else LocalSchemas()
        self.ledger = Ledger(len(project.features))
        self.control = Control(project.model)
        """What the topics held when the run was over."""
        self._store = ArtifactStore(folder / "artifacts")
        self._running: dict[str, tuple[asyncio.Task[None], MemoryTransport]] = {}
        self.builders: dict[str, Callable[[Context], Service]] = self._builders()

    async def run(self) -> Outcome:
        """Start the services, publish, wait until everything is scored, and sum up."""
        await self._transport("setup").create_topics(specs(self._project))
        await register_all(self.schemas, self._project)
        for name in self.builders:
            self.start(name)
        try:
            async with asyncio.timeout(LONGEST_S):
                with contextlib.suppress(_Done):
                    await run_together(self._upstream(), self._watch())
        finally:
            await self._stop()
        return await self._sum_up()

    def artifact(self, digest: str) -> bytes:
        """A file of the artefact store."""
        return self._store.get(digest)

    async def reproduce(self) -> tuple[int, int]:
        """Train every run that succeeded again, from its event alone. Returns how many, and how many came out equal."""
        codec, transport = Codec(self.schemas), self._transport("reproduce")
        runs = [change for change in self.control.of(TrainingRunChanged) if change.status == "SUCCEEDED"]
        results = [await repeat(self._project, transport, codec, self._store, one, fit_inline) for one in runs]
        digests = [hashlib.sha256(result.artifact).hexdigest() for result in results]
        return len(runs), sum(one.artifact_sha256 == digest for one, digest in zip(runs, digests, strict=True))

    def start(self, name: str) -> None:
        """Start the service of that name, as its supervisor would."""
        transport = self._transport(name)
        context = Context(self._project, transport, Codec(self.schemas), self._clock, f"{name}@simulation")
        self._running[name] = asyncio.create_task(self.builders[name](context).run(), name=name), transport

    async def kill(self, name: str) -> None:
        """Kill the service as ``kill -9`` does, and start it again."""
        task, transport = self._running.pop(name)
        await transport.crash()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.start(name)

    def _builders(self) -> dict[str, Callable[[Context], Service]]:
        store = self._store

        async def fit(task: FitTask) -> FitResult:
            await asyncio.sleep(self._training_s)
            return await fit_inline(task)

        keys = self._folder / "keys"
        for space in SIGNED:
            if not (keys / f"{space}.pem").exists():  # the same in each run, because signatures are in the log
                make_key(keys / f"{space}.pem", space, hashlib.sha256(f"{self._seed} {space}".encode()).digest())
        signers = load_signers(keys, create=True)
        database = f"sqlite:///{self._folder / 'registry.db'}"
        return {
            "registry": lambda context: RegistryService(
                context, artifacts=store, database_url=database, in_thread=inline, signers=signers
            ),
            "trainer": lambda context: TrainerService(context, artifacts=store, fit=fit, in_thread=inline),
            "ingest": lambda context: IngestService(context, max_records=200, trace_share=0.01, in_thread=inline),
            "serving": lambda context: ServingService(
                context,
                artifacts=str(self._folder / "artifacts"),
                max_records=200,
                in_thread=inline,
                trust=Trust(verifier=TrustedFile(keys / TRUSTED)),
            ),
            "monitor": lambda context: MonitorService(context, Policy.of(context.project)),
        }

    def _transport(self, name: str) -> MemoryTransport:
        rng = random.Random(f"{self._seed}-{name}")  # noqa: S311  # an interleaving is no secret
        return MemoryTransport(self._clock, rng, log=self.log, client_id=name)

    async def _upstream(self) -> None:
        """Publish the first rows, wait for the first model, publish the rest, wait until all is quiet."""
        transport = self._transport("upstream")
        publisher = Publisher(transport, Codec(self.schemas), self._project, self._clock)
        first = max(self._begin, min(self.rows, self._project.training.first_rows))
        await publisher.send(self._file, self._begin, first, self._rate)
        while not await self._count(topics.SERVING_STATUS):  # noqa: ASYNC110  # a log is polled, it sets no events
            await asyncio.sleep(POLL_S)
        await publisher.send(self._file, first, self.rows, self._rate)
        await publisher.close()
        seen, since = -1, self._clock.monotonic_s()
        while self._clock.monotonic_s() - since < QUIET_S:
            total = sum([await self._count(row) for row in topics.TABLE])
            if total != seen:
                seen, since = total, self._clock.monotonic_s()
            await asyncio.sleep(POLL_S)
        raise _Done

    async def _watch(self) -> None:
        """A service that fails fails the simulation."""
        while True:
            for name, (task, _) in list(self._running.items()):
                if task.done():
                    task.result()
                    raise RuntimeError(f"{name} ended by itself")
            await asyncio.sleep(POLL_S)

    async def _stop(self) -> None:
        for task, transport in self._running.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await transport.close()

    async def _count(self, row: TopicRow) -> int:
        transport, topic = self._transport("reader"), topic_name(row, self._project)
        count = row.partitions or self._project.partitions
        return sum([(await transport.bounds(topic, at)).end for at in range(count)])

    async def _sum_up(self) -> Outcome:
        """Read every topic from its beginning to its end."""
        ledger, control, digest = self.ledger, self.control, hashlib.sha256()
        codec = Codec(self.schemas)
        for row in topics.TABLE:
            async for record in self._records(row):
                digest.update(repr(record).encode())
                place = (record.partition, record.offset)
                if row is topics.SAMPLES:
                    ledger.sample(place, await codec.decode_record(record.value))
                elif row is topics.PREDICTIONS:
                    ledger.prediction(await codec.decode_record(record.value), record.timestamp_ms)
                elif row in CONTROL:
                    control.add(record.timestamp_ms, await codec.decode(CONTROL[row], record.value))
        columns = ledger.columns()
        judged = (columns.copies > 0) & ~np.isnan(columns.label)
        return Outcome(
            seed=self._seed,
            rows=ledger.events,
            predictions=ledger.predictions,
            first_row=min((ledger.row_at(at, offset) for at, offset in control.first_offsets().items()), default=-1),
            missing=int((columns.copies == 0).sum()),
            duplicates=int((columns.copies > 1).sum()),
            alarms=sum(drift.severity == "ALARM" for drift in control.drifts),
            requests=len(control.of(RetrainModel)),
            versions=[f"{chain.version}: {chain.deployment.reason}" for chain in control.chains()],
            drift_caused=sum(chain.caused_by_drift for chain in control.chains()),
            accuracy=float((columns.predicted[judged] == columns.label[judged]).mean()) if judged.any() else math.nan,
            virtual_s=self._clock.monotonic_s(),
            digest=digest.hexdigest(),
        )

    async def _records(self, row: TopicRow) -> AsyncIterator[Record]:
        transport, topic = self._transport("reader"), topic_name(row, self._project)
        for partition in range(row.partitions or self._project.partitions):
            begin, end = await transport.bounds(topic, partition)
            async for records in transport.read(topic, partition, begin, end):
                for record in records:
                    yield record


class _Done(Exception):  # noqa: N818  # no error: the way out of run_together
    """The simulation is over."""
