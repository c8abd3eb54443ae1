"""Signing keys: made where that is allowed, missed in words where it is not; and what they sign."""

import pytest

from millrace.contracts.events import AlertRaised, DeploymentDecided, ModelVersionChanged
from millrace.stores.signing import (
    SigningError,
    Statement,
    Verifier,
    load_trusted,
    make_key,
    save_trusted,
    statement_of,
)
from services.registry.keys import load_signers, sealed
from tests.registry.life import CANARY, Life
from tests.registry.runs import make_run


def test_missing_keys_are_made_and_trusted(tmp_path):
    """The embedded default: nothing to set up. A second start finds the same keys."""
    first = load_signers(tmp_path / "keys", create=True)
    second = load_signers(tmp_path / "keys", create=True)
    trusted = load_trusted(tmp_path / "keys" / "trusted.json")

    assert [("test", "test"), ("production", "production")] == [(space, one.space) for space, one in first.items()]
    assert [one.trusted for one in first.values()] == [one.trusted for one in second.values()] == trusted
    assert 0o600 == (tmp_path / "keys" / "production.pem").stat().st_mode & 0o777


def test_a_new_key_is_trusted_beside_the_old_one(tmp_path):
    """Rotation: what the old one signed goes on serving."""
    old = load_signers(tmp_path, create=True)["production"].trusted
    (tmp_path / "production.pem").rename(tmp_path / "old.pem")
    new = load_signers(tmp_path, create=True)["production"].trusted

    assert old != new
    assert {old.key_id, new.key_id} <= {key.key_id for key in load_trusted(tmp_path / "trusted.json")}


def test_a_start_that_was_broken_off_is_finished_by_the_next(tmp_path):
    """Keys are there, and the list of the trusted is not."""
    made = load_signers(tmp_path, create=True)
    (tmp_path / "trusted.json").unlink()
    load_signers(tmp_path, create=True)

    assert [one.trusted for one in made.values()] == load_trusted(tmp_path / "trusted.json")


def test_a_key_that_was_revoked_is_not_trusted_again(tmp_path):
    """Only what was made now is added; whoever took a key out of the list meant it."""
    load_signers(tmp_path, create=True)
    save_trusted(tmp_path / "trusted.json", [])
    load_signers(tmp_path, create=True)

    assert [] == load_trusted(tmp_path / "trusted.json")


def test_without_leave_to_make_them_a_missing_key_is_an_error_at_start(tmp_path):
    """Nobody shall find out at the first deployment; nothing is written."""
    with pytest.raises(SigningError, match=r"there is no key .*test\.pem .*millrace keys init"):
        load_signers(tmp_path, create=False)

    assert [] == list(tmp_path.iterdir())


def test_with_keys_that_are_there_the_list_of_the_trusted_is_left_alone(tmp_path):
    """It may be kept where the registry cannot write."""
    for space in ("test", "production"):
        make_key(tmp_path / f"{space}.pem", space)

    assert {"test", "production"} == set(load_signers(tmp_path, create=False))
    assert not (tmp_path / "trusted.json").exists()


def test_entries_and_every_part_of_a_deployment_are_signed(tmp_path):
    """For the space that was entered; parts for production, where they answer. Twice the same is equal."""
    signers = load_signers(tmp_path, create=True)
    verifier = Verifier.load(tmp_path / "trusted.json")
    life = Life()
    life.train(golden_sha256="cd" * 32)
    life.policy = CANARY
    life.train()
    signed = [sealed(event, signers) for event in life.log]

    assert signed == [sealed(event, signers) for event in life.log]
    for event in signed:
        if isinstance(event, DeploymentDecided):
            for one in event.traffic:
                verifier.verify(statement_of(event, one, "production"), one.signature, one.key_id)
        if isinstance(event, ModelVersionChanged) and event.status == "PROMOTED":
            digest = event.artifact_sha256 or ""
            said = Statement("tiny", event.version or 0, event.space, digest, event.golden_sha256, event.feature_set)
            verifier.verify(said, event.signature, event.key_id)
    deployments = [event for event in signed if isinstance(event, DeploymentDecided)]

    assert [1, 2] == [len(event.traffic) for event in deployments]
    assert "cd" * 32 == deployments[1].traffic[0].golden_sha256


def test_what_nobody_verifies_is_not_signed(tmp_path):
    """Runs, registrations, ends and alerts; and nothing at all without keys."""
    signers = load_signers(tmp_path, create=True)
    life = Life()
    life.train(2)
    others = [
        event for event in life.log
        if not isinstance(event, DeploymentDecided) and getattr(event, "status", "") != "PROMOTED"
    ]  # fmt: skip
    alert = AlertRaised(
        alert_id="a", service="registry", severity="WARNING", reason="r", subject="tiny", message="m", raised_at_ms=0
    )

    assert [*others, alert] == [sealed(event, signers) for event in [*others, alert]]
    assert life.log == [sealed(event, {}) for event in life.log]
    assert make_run() == sealed(make_run(), signers)
