"""The registry's signing keys, and the seal that it puts on what it writes.

Rules:

- One Ed25519 key for each space that is signed for: ``test.pem`` and ``production.pem`` in one folder, readable by its
  owner only. ``trusted.json`` beside them lists the public halves, for serving.
- The embedded default makes missing keys at start, says so in the log, and adds them to ``trusted.json``. Where that
  is switched off a missing key is an error at start: nobody shall find out at the first deployment.
- That a version entered a space is signed with the space's key; each part of a deployment with production's. Ed25519
  is deterministic, so a decision that is repeated is equal, signature and all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from millrace.contracts.events import DeploymentDecided, Event, ModelVersionChanged
from millrace.stores.signing import (
    Signature,
    Signer,
    SigningError,
    Statement,
    TrustedKey,
    Verifier,
    load_trusted,
    make_key,
    save_trusted,
    statement_of,
)
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
TEST, PRODUCTION = "test", "production"
SIGNED = (TEST, PRODUCTION)
TRUSTED = "trusted.json"
REVOKED = "revoked.json"  # no longer trusted, but what they signed was decided here


def load_signers(folder: Path, *, create: bool) -> Mapping[str, Signer]:
    """A signer for each space. Raises ``SigningError`` for a key that is missing or unusable.

    Args:
        folder: where the keys are.
        create: whether to make those that are missing, and to trust what was made.
    """
    missing = [space for space in SIGNED if not (folder / f"{space}.pem").exists()]
    if missing and not create:
        raise SigningError(
            f"there is no key {folder / missing[0]}.pem to sign for {missing[0]}: put it there, or make one with "
            "millrace keys init (or set MILLRACE_KEYS_CREATE=true)"
        )
    try:
        for space in missing:
            key = make_key(folder / f"{space}.pem", space).trusted
            log.warning("made a signing key", folder=str(folder), space=space, key_id=key.key_id)
        signers = {space: Signer.load(folder / f"{space}.pem", space) for space in SIGNED}
        if create:
            spaces = missing if (folder / TRUSTED).exists() else SIGNED  # what was revoked stays revoked
            trust(folder / TRUSTED, [signers[space].trusted for space in spaces])
    except OSError as error:
        raise SigningError(f"no key can be written to {folder}: {error}; set MILLRACE_KEYS to a folder") from error
    return signers


def trust(path: Path, keys: Sequence[TrustedKey]) -> None:
    """Add keys to a list of keys, or begin it; those that are there stay."""
    known = load_trusted(path) if path.exists() else []
    ids = {key.key_id for key in known}
    missing = [key for key in keys if key.key_id not in ids]
    if missing:
        save_trusted(path, [*known, *missing])


def foreign(event: DeploymentDecided, known: Verifier, *, after_signed: bool) -> str | None:
    """What is wrong with a deployment that this registry, or the one before it, cannot have written; None if nothing.

    Args:
        event: the deployment.
        known: the keys that have ever signed here.
        after_signed: whether a signed one came before it; those without signatures are older than all that are signed.
    """
    if not after_signed and all(part.signature is None for part in event.traffic):
        return None
    try:
        for part in event.traffic:
            known.verify(statement_of(event, part, PRODUCTION), part.signature, part.key_id)
    except SigningError as error:
        return str(error)
    return None


def known_keys(folder: Path) -> Verifier:
    """All keys that have ever signed here: those that are trusted now, and those that were revoked since."""
    files = [folder / name for name in (TRUSTED, REVOKED) if (folder / name).exists()]
    return Verifier(key for file in files for key in load_trusted(file))


def sealed(event: Event, signers: Mapping[str, Signer]) -> Event:
    """The event with its signatures; as it is where nothing of it is signed, or there is no key for it."""
    match event:
        case ModelVersionChanged(status="PROMOTED", version=int() as version, artifact_sha256=str() as digest):
            if event.space not in signers:
                return event
            statement = Statement(
                event.model, version, event.space, digest, event.golden_sha256, event.feature_set
            )  # fmt: skip
            return event.model_copy(update=_said(signers[event.space].sign(statement)))
        case DeploymentDecided() if PRODUCTION in signers:
            signer = signers[PRODUCTION]
            parts = [
                part.model_copy(update=_said(signer.sign(statement_of(event, part, PRODUCTION))))
                for part in event.traffic
            ]
            return event.model_copy(update={"traffic": tuple(parts)})
        case _:
            return event


def _said(signature: Signature) -> Mapping[str, str]:
    return {"signature": signature.value, "key_id": signature.key_id}
