"""Faults 13 and 14 with real processes: bad files, bad signatures and old deployments, with kill -9 between them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.contracts import topics
from millrace.contracts.events import DeploymentDecided, Traffic
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import Signer, make_key, save_trusted, statement_of
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import Scene, wait_for
from tests.faults.judge import Live, finish
from tests.faults.readers import Decoder, everything
from tests.onnx_models import classifier
from tests.serving.bad_models import BAD, as_bytes, busy, golden, good

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.matrix,
]  # tests/serving has each refusal without a broker

SEED = 13
EVENTS_MIN = 3_000
PROBE_SECONDS = 3


class Registry:
    """Puts models into the store and deploys them, signed, as the registry would."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.store = ArtifactStore(scene.folder / "data" / "artifacts")
        keys = scene.folder / "data" / "keys"
        self.signer: Signer = make_key(keys / "production.pem", "production")
        self.other: Signer = make_key(keys / "other.pem", "production")
        save_trusted(keys / "trusted.json", [self.signer.trusted])
        self.golden = self.store.put(golden())
        self.epoch = 0

    def deploy(self, content: bytes, by: Signer | None = None) -> DeploymentDecided:
        """Version ``epoch`` takes over at once, if serving lets it."""
        self.epoch += 1
        project, digest = self.scene.project, self.store.put(content)
        part = Traffic(
            variant="champion", version=self.epoch, share=1.0, artifact_sha256=digest, golden_sha256=self.golden,
            feature_set=project.feature_set,
        )  # fmt: skip
        decided = DeploymentDecided(
            deployment_id=f"deployment/{project.model}/{self.epoch}", model=project.model, epoch=self.epoch,
            traffic=(part,), scoring_since_ms=0, caused_by="test", reason="test", decided_by="registry",
            decided_at_ms=0,
        )  # fmt: skip
        signature = (by or self.signer).sign(statement_of(decided, part, "production"))
        part = part.model_copy(update={"signature": signature.value, "key_id": signature.key_id})
        decided = decided.model_copy(update={"traffic": (part,)})
        self.scene.publish(topics.DEPLOYMENTS, decided)
        return decided

    def statuses(self) -> dict[int, tuple[str, str]]:
        """Each epoch's newest status and its reason, as a foreign client reads them."""
        decode = Decoder(self.scene)
        found = [decode(one.value) for one in everything(self.scene, topics.SERVING_STATUS.suffix, partitions=1)]
        ours = [one for one in found if one["model"] == self.scene.project.model]
        return {one["epoch"]: (one["status"], one["reason"] or "") for one in ours}

    def wait(self, status: str, reason: str = "") -> None:
        """Until that is said of the newest deployment."""
        wait_for(
            lambda: (seen := self.statuses().get(self.epoch)) and seen[0] == status and reason in seen[1],
            lambda: f"epoch {self.epoch} is to be {status} ({reason}): {self.statuses()}",
        )


@pytest.fixture
def scene(broker: Broker, tmp_path: Path) -> Iterator[Scene]:
    """A project without a model yet."""
    with Scene.create(broker, tmp_path) as made:
        yield made


def test_nothing_bad_ever_serves(scene: Scene) -> None:
    """Each is refused with its reason, before and after a kill, and each event is answered once by a good version."""
    print(f"seed {SEED}")  # noqa: T201 - it replays the case
    registry, live = Registry(scene), Live.both(scene)
    first = registry.deploy(as_bytes(good()))
    scene.service("ingest")
    serving = scene.service("serving", SIGNATURES="required", PROBE_SECONDS=str(PROBE_SECONDS))
    with Feed(scene, SEED).start() as feed:
        registry.wait("SERVING")
        for name in ("garbage", "NaN weight", "external tensor", "loop", "too wide"):
            registry.deploy(as_bytes(BAD[name][0]))
            registry.wait("FAILED")
        registry.deploy(busy(400, 2500))
        registry.wait("FAILED", f"{PROBE_SECONDS} s")  # of CPU, or on a busy machine by the clock
        registry.deploy(classifier(flipped=True))
        registry.wait("FAILED", "golden records are answered differently")
        registry.deploy(as_bytes(good()), by=registry.other)
        registry.wait("FAILED", "not trusted")
        serving.kill(signal.SIGKILL)
        serving.wait_deaths(1)
        registry.deploy(as_bytes(good(ir=8)))
        registry.wait("SERVING")
        last = registry.epoch
        scene.publish(topics.DEPLOYMENTS, first)
        serving.kill(signal.SIGKILL)
        serving.wait_deaths(2)
        feed.until(max(EVENTS_MIN, feed.events + 500))
    books = finish(scene, feed, live)

    assert {1, last} == {value["version"] for _, value in books.predictions}
    assert ("SERVING", "") == registry.statuses()[last]
    assert 8 == sum(status == "FAILED" for status, _ in registry.statuses().values())
