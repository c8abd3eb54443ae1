"""A rollout with real processes: who admits candidates, asks the registry for things, and reads what it decided.

Nobody trains here: the runs are written by the test, with their models in the store, as the trainer would write them.
The registry that judges them, signs them and rolls them out is the real one, and so are serving and the monitor.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Producer

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import DeploymentDecided, ManageModel, Traffic
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import TopicRow
from millrace.local.ports import PortBook
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import Signer, statement_of
from tests.conftest import Broker
from tests.faults.harness import PATIENCE_S, Scene, Service, run, wait_for
from tests.faults.judge import Live
from tests.faults.readers import Decoder, everything
from tests.registry.runs import make_run
from tests.support import EPOCH_MS

Values = list[dict[str, Any]]
MALLORY = "mallory"  # who may write to the log, and has no key
CANARY: Mapping[str, Any] = {
    "strategy": "canary",
    "unit": "event",
    "steps": [0.2, 0.5],
    "step_rows": 100,
    "evidence_rows": 25,
    "guardrails": {"rows_min": 50, "scoring_ratio_max": 1e6, "scoring_ms_max": 500},
}
"""A busy machine makes times worthless: what is not about them allows every ratio."""


class Stage:
    """A scene whose deployments come from the real registry. Use it in ``with``, as the scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.model = scene.project.model
        self.store = ArtifactStore(scene.folder / "data" / "artifacts")
        self._decode = Decoder(scene)
        self._runs = self._started = 0

    @classmethod
    def create(cls, broker: Broker, folder: Path, **rollout: Any) -> Self:
        """A project that rolls out as ``CANARY`` says, with these changes."""
        return cls(Scene.create(broker, folder, rollout={**CANARY, **rollout}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.scene.__exit__(kind, *error)

    def start(self, name: str, *lives: str) -> Service:
        """Start a service, and do not wait for it. Serving trusts nobody but the registry."""
        self._started += 1
        label = f"{name}-{self._started}"
        port = PortBook(self.scene.folder / "ports.json").choose([label])[label]  # no other one of the scene has it
        return self.scene.service(name, lives, HTTP_PORT=str(port), SIGNATURES="required", PROBE_SECONDS="60")

    # ---- what others say to the registry -------------------------------------------------------------------------

    def admit(self, content: bytes, against: int | None = None) -> None:
        """A run has succeeded with this model; it was better than version ``against``."""
        self._runs += 1
        finished = make_run(
            f"run-{self._runs}", against=against, model=self.model, feature_set=self.scene.project.feature_set,
            artifact_sha256=self.store.put(content), artifact_bytes=len(content), changed_at_ms=EPOCH_MS + self._runs,
        )  # fmt: skip
        self.scene.publish(topics.TRAINING_RUNS, finished)

    def begin(self, content: bytes) -> None:
        """The first model is admitted, and serves."""
        self.admit(content)
        self.serves(1)

    def forge(self, content: bytes, epoch: int, space: str | None) -> DeploymentDecided:
        """Somebody else's deployment of this model: not signed, or signed with the registry's key of another space."""
        number, digest = 100 + epoch, self.store.put(content)
        part = Traffic(
            variant="champion", version=number, share=1.0, artifact_sha256=digest,
            feature_set=self.scene.project.feature_set,
        )  # fmt: skip
        decided = DeploymentDecided(
            deployment_id=f"deployment/{self.model}/{epoch}", model=self.model, epoch=epoch, traffic=(part,),
            scoring_since_ms=0, caused_by="mallory", reason="why not", decided_by=MALLORY, decided_at_ms=0,
        )  # fmt: skip
        if space is None:
            return decided
        signer = Signer.load(self.scene.folder / "data" / "keys" / f"{space}.pem", space)
        signed = signer.sign(statement_of(decided, part, space))
        part = part.model_copy(update={"signature": signed.value, "key_id": signed.key_id})
        return decided.model_copy(update={"traffic": (part,)})

    def smuggle(self, event: DeploymentDecided) -> None:
        """Write it under a key that is not the model's: the registry never sees it."""

        async def encode() -> bytes:
            async with SchemaRegistry(self.scene.broker.schema_registry_url) as registry:
                codec = Codec(registry)
                await codec.prepare(self.scene.project, topics.DEPLOYMENTS)
                return codec.encode(topics.DEPLOYMENTS.suffix, event)

        producer = Producer({"bootstrap.servers": self.scene.broker.bootstrap_servers})
        producer.produce(topics.DEPLOYMENTS.suffix, key=MALLORY.encode(), value=run(encode()), partition=0)
        assert producer.flush(PATIENCE_S) == 0

    def ask(self, action: str, **fields: Any) -> ManageModel:
        """A person's request, handed over twice, as by a client that got no answer the first time."""
        now_ms = round(time.time() * 1000)
        known = {
            "request_id": f"request/{self.model}/{action}/{now_ms}", "model": self.model, "action": action,
            "version": None, "space": None, "expected_epoch": None, "immediate": False, "reason": "a test",
            "requested_by": "ada", "requested_at_ms": now_ms,
        }  # fmt: skip
        request = ManageModel(**{**known, **fields})
        self.scene.publish(topics.REGISTRY_REQUESTS, request, request)
        return request

    # ---- what is in the log --------------------------------------------------------------------------------------

    def log(self, row: TopicRow) -> Values:
        """What a control topic holds about our model, as a foreign client reads it."""
        every = everything(self.scene, row.suffix, partitions=1)
        found = [self._decode(one.value) for one in every if one.key != MALLORY.encode()]
        return [one for one in found if one["model"] == self.model]

    def deployments(self) -> Values:
        """All of them, in the order of the log."""
        return self.log(topics.DEPLOYMENTS)

    def decided(self, epoch: int) -> DeploymentDecided:
        """That deployment, once it is in the log."""
        found: Values = []

        def there() -> bool:
            found[:] = [one for one in self.deployments() if one["epoch"] == epoch]
            return bool(found)

        wait_for(there, lambda: f"epoch {epoch} is decided; there are {self.story()}")
        return DeploymentDecided(**found[0])

    def story(self) -> list[tuple[int, str, dict[str, tuple[int, float]], str]]:
        """Epoch, kind, version and share by variant, and reason of each deployment."""
        return [
            (
                one["epoch"],
                one["kind"],
                {part["variant"]: (part["version"], part["share"]) for part in one["traffic"]},
                one["reason"],
            )
            for one in self.deployments()
        ]

    def serves(self, epoch: int) -> None:
        """Wait until every partition reports that this epoch is in force."""
        self.reported(epoch, "SERVING", self.scene.project.partitions)

    def reported(self, epoch: int, status: str, partitions: int = 1) -> Values:
        """What so many partitions at least report about an epoch, once they do."""
        found: Values = []

        def there() -> bool:
            every = self.log(topics.SERVING_STATUS)
            found[:] = [one for one in every if (one["epoch"], one["status"]) == (epoch, status)]
            return len({one["partition"] for one in found}) >= partitions

        wait_for(there, lambda: f"epoch {epoch} is {status} in {partitions} partitions: {found}; {self.story()}")
        return found


class Answers:
    """The predictions that a live reader sees, decoded as they come."""

    def __init__(self, stage: Stage, live: Live) -> None:
        self._live = live
        self._decode = Decoder(stage.scene)
        self._known: Values = []

    def all(self) -> Values:
        """Those seen so far."""
        for one in self._live.seen[len(self._known) :]:
            self._known.append(self._decode(one.value))
        return self._known

    def wait(self, what: str, wanted: Callable[[dict[str, Any]], bool], count: int) -> None:
        """Return when there are so many of these."""
        wait_for(
            lambda: sum(map(wanted, self.all())) >= count,
            lambda: f"{sum(map(wanted, self.all()))} of {count} {what} among {len(self.all())} predictions",
        )

    def under(self, epoch: int) -> int:
        """How many events have been answered under this epoch."""
        return sum(one["epoch"] == epoch for one in self.all())

    def wait_epoch(self, epoch: int, count: int) -> None:
        """Return when so many events have been answered under this epoch."""
        self.wait(f"answers under epoch {epoch}", lambda one: bool(one["epoch"] == epoch), count)
