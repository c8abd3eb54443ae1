"""Fault 14 and golden records: only what was signed for exactly this use is loaded; the last good one goes on."""

import base64
import dataclasses
from pathlib import Path

import pytest

from millrace.contracts import topics
from millrace.contracts.events import Traffic
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import Signer, Verifier, make_key, save_trusted, statement_of
from services.serving import deployments
from services.serving.models import Trust
from services.serving.probe import ChildProbe
from services.serving.verify import TrustedFile
from tests.onnx_models import classifier
from tests.serving.bad_models import as_bytes, golden, good
from tests.serving.scene import part, rollout, sample, serving, write
from tests.support import World, tiny_project, until


@pytest.fixture
async def world(tmp_path):
    """The tiny project on an empty log."""
    return await World.create(tiny_project(tmp_path / "project"))


@pytest.fixture
def store(tmp_path):
    """The artefact store that serving reads."""
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def signer(tmp_path) -> Signer:
    """The key of production, trusted."""
    made = make_key(tmp_path / "keys" / "production.pem", "production")
    save_trusted(trusted(tmp_path), [made.trusted])
    return made


def trusted(folder: Path) -> Path:
    """Where the trusted keys are."""
    return folder / "keys" / "trusted.json"


def trust(folder: Path) -> Trust:
    """As in production, but that models are tried in this process."""
    return Trust(verifier=TrustedFile(trusted(folder)))


def signed(
    world: World, signer: Signer, digest: str, version: int, /, epoch: int | None = None, **changes: object
) -> Traffic:
    """A version that takes over at once, signed; ``changes`` are to what is signed, not to what is deployed."""
    made = part(world, digest, version)
    _, deployed = rollout(epoch or version, made, rollout_id=None)
    signature = signer.sign(dataclasses.replace(statement_of(deployed, made, signer.space), **changes))
    return made.model_copy(update={"signature": signature.value, "key_id": signature.key_id})


async def status(world: World, epoch: int, kind: str) -> dict:
    """That epoch's newest status of that kind, once there is one."""

    async def found() -> list[dict]:
        values = await world.values(topics.SERVING_STATUS)
        return [one for one in values if (one["epoch"], one["status"]) == (epoch, kind)]

    return (await until(found, 1))[-1]


def no_signature(part: Traffic) -> Traffic:
    """It was taken off."""
    return part.model_copy(update={"signature": None, "key_id": None})


def flipped_bit(part: Traffic) -> Traffic:
    """It was damaged."""
    raw = bytearray(base64.b64decode(part.signature))
    raw[5] ^= 1
    return part.model_copy(update={"signature": base64.b64encode(raw).decode()})


FORGED = {
    "missing": (no_signature, {}, "is not signed; only signed versions serve"),
    "damaged": (flipped_bit, {}, "does not match its signature"),
    "no base64": (lambda part: part.model_copy(update={"signature": "!"}), {}, "does not match its signature"),
    "for another version": (None, {"version": 1}, "does not match its signature"),
    "for another model": (None, {"model": "other"}, "does not match its signature"),
    "for another file": (None, {"artifact_sha256": "ab" * 32}, "does not match its signature"),
    "for other golden records": (None, {"golden_sha256": "ab" * 32}, "does not match its signature"),
    "for other features": (None, {"feature_set": "f-other"}, "does not match its signature"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_signature_that_does_not_hold_is_refused(world, store, signer, tmp_path, name):
    """Version 2 is refused with its reason, at once and after a restart, and version 1 goes on."""
    change, said, reason = FORGED[name]
    one, two = store.put(classifier()), store.put(classifier(flipped=True))
    forged = signed(world, signer, two, 2, **said)
    forged = forged if change is None else change(forged)
    await write(world, rollout(1, signed(world, signer, one, 1), rollout_id=None))
    for number in range(2):
        async with serving(world, tmp_path, trust(tmp_path)):
            await status(world, 1, "SERVING")
            if not number:
                await write(world, rollout(2, forged, rollout_id=None))
            assert reason in (await status(world, 2, "FAILED"))["reason"]
            await write(world, sample(number))
            made = await world.until(topics.PREDICTIONS, number + 1)

    assert [(1, 1), (1, 1)] == [(one["version"], one["epoch"]) for one in made]


@pytest.mark.parametrize(
    ("space", "models", "is_known", "reason"),
    [
        ("production", ("*",), False, "which is not trusted; known"),
        ("test", ("*",), True, "which is for the space 'test'"),
        ("production", ("other",), True, r"the models ['other']"),
    ],
    ids=["unknown key", "key of another space", "key of another model"],
)
async def test_a_key_that_may_not_sign_this_is_refused(world, store, signer, tmp_path, space, models, is_known, reason):
    """Whoever holds it: what it may sign is said where it is trusted."""
    other = make_key(tmp_path / "keys" / "other.pem", space)
    if is_known:
        save_trusted(trusted(tmp_path), [signer.trusted, other.trusted.model_copy(update={"models": models})])
    digest = store.put(classifier())
    await write(world, rollout(1, signed(world, signer, digest, 1), rollout_id=None))
    async with serving(world, tmp_path, trust(tmp_path)):
        await status(world, 1, "SERVING")
        await write(world, rollout(2, signed(world, other, digest, 2), rollout_id=None))
        assert reason in (await status(world, 2, "FAILED"))["reason"]
        await write(world, sample(0))
        made = await world.until(topics.PREDICTIONS, 1)

    assert [(1, 1)] == [(one["version"], one["epoch"]) for one in made]


async def test_an_old_deployment_that_is_replayed_changes_nothing(world, store, signer, tmp_path):
    """Its signature holds, its epoch does not: before, during and after a restart version 2 goes on."""
    first = rollout(1, signed(world, signer, store.put(classifier()), 1), rollout_id=None)
    second = rollout(2, signed(world, signer, store.put(classifier(flipped=True)), 2), rollout_id=None)
    await write(world, first)
    async with serving(world, tmp_path, trust(tmp_path)):
        await status(world, 1, "SERVING")
        await write(world, second)
        await status(world, 2, "SERVING")
        await write(world, first)
        await write(world, sample(0))
        await world.until(topics.PREDICTIONS, 1)
    await write(world, first, sample(1))
    async with serving(world, tmp_path, trust(tmp_path)):
        made = await world.until(topics.PREDICTIONS, 2)
        await write(world, first, sample(2))
        made = await world.until(topics.PREDICTIONS, 3)
    statuses = [(one["epoch"], one["status"]) for one in await world.values(topics.SERVING_STATUS)]

    assert [(2, 2)] * 3 == [(one["version"], one["epoch"]) for one in made]
    assert sorted(statuses) == statuses, "an epoch that comes back would be out of order"


async def test_keys_are_rotated_without_a_restart(world, store, signer, tmp_path, monkeypatch):
    """What the new key signed waits until the key is trusted; what only the old one signed is refused from then on."""
    monkeypatch.setattr(deployments, "RETRY_S", 0.1)
    digest = store.put(classifier())
    new = make_key(tmp_path / "keys" / "new.pem", "production")
    await write(world, rollout(1, signed(world, signer, digest, 1), rollout_id=None))
    async with serving(world, tmp_path, trust(tmp_path)):
        await status(world, 1, "SERVING")
        await write(world, rollout(2, signed(world, new, digest, 2), rollout_id=None))
        assert "not trusted" in (await status(world, 2, "FAILED"))["reason"]
        save_trusted(trusted(tmp_path), [new.trusted])
        assert 2 == (await status(world, 2, "SERVING"))["version"]
        await write(world, rollout(3, signed(world, signer, digest, 3), rollout_id=None))
        assert "not trusted" in (await status(world, 3, "FAILED"))["reason"]


async def test_serving_waits_for_its_trusted_keys_and_never_for_a_rollback(world, store, tmp_path, monkeypatch):
    """Nothing serves before they are there; once read they are remembered when the file goes away."""
    monkeypatch.setattr(deployments, "RETRY_S", 0.1)
    made = make_key(tmp_path / "keys" / "production.pem", "production")
    digest = store.put(classifier())
    await write(world, rollout(1, signed(world, made, digest, 1), rollout_id=None))
    async with serving(world, tmp_path, trust(tmp_path)) as service:
        assert "until then no version can be verified" in (await status(world, 1, "FAILED"))["reason"]
        assert "trusted keys" in service.checks()["model"]
        save_trusted(trusted(tmp_path), [made.trusted])
        await status(world, 1, "SERVING")
        trusted(tmp_path).unlink()
        await write(world, rollout(2, signed(world, made, digest, 1, epoch=2), rollout_id=None, kind="ROLLED_BACK"))
        await status(world, 2, "SERVING")

    assert service.checks()["model"] is None


@pytest.mark.parametrize("child", [False, True])
async def test_golden_records_are_part_of_what_is_signed_and_checked(
    world, store, signer, tmp_path, child, fork_server
):
    """A version that answers them takes over, one that does not is refused, here as in a child."""
    records = store.put(golden())
    digests = store.put(as_bytes(good())), store.put(classifier(flipped=True))
    parts = [
        signed(world, signer, digest, number, golden_sha256=records).model_copy(update={"golden_sha256": records})
        for number, digest in enumerate(digests, start=1)
    ]
    probe = ChildProbe(memory_mb=1024, seconds=20) if child else None
    async with serving(world, tmp_path, Trust(verifier=Verifier([signer.trusted]), probe=probe)):
        await write(world, rollout(1, parts[0], rollout_id=None))
        await status(world, 1, "SERVING")
        await write(world, rollout(2, parts[1], rollout_id=None))
        refused = await status(world, 2, "FAILED")

    assert "golden records are answered differently" in refused["reason"]


async def test_a_forged_epoch_takes_no_canary_its_candidate(world, store, signer, tmp_path):
    """However great the epoch: what is refused for good is not a newer decision."""
    digests = store.put(classifier()), store.put(classifier(flipped=True))
    row, decided = rollout(2, part(world, digests[0], 1, 0.5), part(world, digests[1], 2, 0.5, "candidate"))
    traffic = []
    for one in decided.traffic:
        signature = signer.sign(statement_of(decided, one, signer.space))
        traffic.append(one.model_copy(update={"signature": signature.value, "key_id": signature.key_id}))
    async with serving(world, tmp_path, trust(tmp_path)) as service:
        await write(world, rollout(2**60, no_signature(part(world, digests[1], 9)), rollout_id=None))
        await status(world, 2**60, "FAILED")
        await write(world, (row, decided.model_copy(update={"traffic": tuple(traffic)})))
        await status(world, 2, "SERVING")

        assert [1, 2] == sorted(service.deployments.versions)
