"""A signature holds for one statement, one key, one space, and nothing else."""

import dataclasses

import pytest

from millrace.contracts.events import DeploymentDecided, Traffic
from millrace.stores.signing import (
    Signer,
    SigningError,
    Statement,
    Verifier,
    load_trusted,
    make_key,
    save_trusted,
    statement_of,
)

STATEMENT = Statement("electricity", 3, "production", "a" * 64, "b" * 64, "features")


@pytest.fixture
def signer(tmp_path) -> Signer:
    """Production's."""
    return make_key(tmp_path / "production.pem", "production")


def test_a_signature_holds_and_is_the_same_each_time(signer, tmp_path):
    """Also with the key read again from its file."""
    again = Signer.load(tmp_path / "production.pem", "production")
    one = signer.sign(STATEMENT)

    assert one == again.sign(STATEMENT)
    Verifier([signer.trusted]).verify(STATEMENT, one.value, one.key_id)


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"version": 4}, {"artifact_sha256": "c" * 64}, {"golden_sha256": None}, {"feature_set": "g"}],
    ids=lambda change: next(iter(change)),
)
def test_it_cannot_be_carried_over(signer, change):
    """To another model, version, file, golden record or feature set."""
    one = signer.sign(STATEMENT)

    with pytest.raises(SigningError, match="does not match its signature"):
        Verifier([signer.trusted]).verify(dataclasses.replace(STATEMENT, **change), one.value, one.key_id)


def test_each_refusal_says_why(signer, tmp_path):
    """Not signed, an unknown key, a key for another space or other models, a damaged signature."""
    one = signer.sign(STATEMENT)
    test_key = make_key(tmp_path / "test.pem", "test")
    for_others = signer.trusted.model_copy(update={"models": ("fraud",)})
    cases = [
        ([signer.trusted], None, None, "is not signed"),
        ([test_key.trusted], one.value, one.key_id, "not trusted"),
        ([signer.trusted.model_copy(update={"space": "test"})], one.value, one.key_id, "for the space 'test'"),
        ([for_others], one.value, one.key_id, "the models"),
        ([signer.trusted], "AAAA" + one.value[4:], one.key_id, "does not match"),
        ([signer.trusted], "no base64!", one.key_id, "does not match"),
    ]

    for keys, value, key_id, words in cases:
        with pytest.raises(SigningError, match=words):
            Verifier(keys).verify(STATEMENT, value, key_id)


def test_a_key_signs_for_its_space_only(signer):
    """A test key cannot be made to speak for production."""
    with pytest.raises(SigningError, match="the statement is about 'test'"):
        signer.sign(dataclasses.replace(STATEMENT, space="test"))


def test_a_key_is_never_overwritten(signer, tmp_path):
    """Losing it would make every signature unverifiable."""
    del signer
    with pytest.raises(SigningError, match="never overwritten"):
        make_key(tmp_path / "production.pem", "production")


@pytest.mark.parametrize("content", ["", "{}", '[{"key_id": 1}]', "nonsense"])
def test_a_damaged_list_of_keys_is_refused(tmp_path, content):
    """Rather than trusting nobody, or anybody, in silence."""
    path = tmp_path / "trusted.json"
    path.write_text(content)

    with pytest.raises(SigningError, match="no list of trusted keys"):
        load_trusted(path)


def test_what_is_saved_is_loaded(signer, tmp_path):
    """Key for key."""
    save_trusted(tmp_path / "trusted.json", [signer.trusted])

    assert [signer.trusted] == load_trusted(tmp_path / "trusted.json")


def test_a_file_that_is_no_private_key_is_refused(tmp_path):
    """With the command that makes one."""
    (tmp_path / "x.pem").write_text("not a key")

    with pytest.raises(SigningError, match="millrace keys init"):
        Signer.load(tmp_path / "x.pem", "production")


def deployed(epoch: int, share: float, **changes: object) -> DeploymentDecided:
    """A deployment of version 3 with this share."""
    part = Traffic(variant="candidate", version=3, share=share, artifact_sha256="a" * 64, feature_set="features")
    fields = {
        "deployment_id": f"d/{epoch}", "model": "electricity", "epoch": epoch, "traffic": (part,),
        "scoring_since_ms": 0, "caused_by": "c", "reason": "r", "decided_by": "registry", "decided_at_ms": 0,
    }  # fmt: skip
    return DeploymentDecided(**fields, **changes)


@pytest.mark.parametrize(
    "other",
    [deployed(6, 0.1), deployed(5, 1.0), deployed(5, 0.1, strategy="canary"), deployed(5, 0.1, rollout_id="r/1")],
    ids=["epoch", "share", "strategy", "rollout"],
)
def test_the_part_of_one_deployment_does_not_pass_in_another(signer, other):
    """What was a tenth of the traffic once cannot be brought back as all of it."""
    was = deployed(5, 0.1)
    one = signer.sign(statement_of(was, was.traffic[0], "production"))
    verifier = Verifier([signer.trusted])

    verifier.verify(statement_of(was, was.traffic[0], "production"), one.value, one.key_id)
    with pytest.raises(SigningError, match="does not match"):
        verifier.verify(statement_of(other, other.traffic[0], "production"), one.value, one.key_id)
