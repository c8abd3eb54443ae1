"""Ed25519 signatures of what a version is: who may put a model before events, and a proof that it is this one.

The registry signs a *statement* when a version enters a space; serving verifies it before it loads the file. A
statement names the model, the version, the space, the SHA-256 of the artefact and of its golden records, the feature
set, and its place in a deployment, so a signature cannot be carried over to another version, space, model or epoch.

A key's id is the beginning of the SHA-256 of its public half. ``trusted.json`` lists the public keys, each for one
space and for named models (``*`` for all): with a new key added before the old one is taken out, keys are rotated
without a pause.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from millrace.contracts.errors import MillraceError
from millrace.contracts.events import DeploymentDecided, Traffic

ANY_MODEL = "*"


class SigningError(MillraceError):
    """A key is missing or unusable, or a signature does not hold; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed about a version. ``purpose`` is its place in one deployment; empty where it is about none."""

    model: str
    version: int
    space: str
    artifact_sha256: str
    golden_sha256: str | None
    feature_set: str
    purpose: str = ""

    def to_bytes(self) -> bytes:
        """The canonical form: JSON with sorted keys and no blanks, UTF-8."""
        said = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature (base64) and the id of the key that made it."""

    value: str
    key_id: str


class TrustedKey(BaseModel):
    """A public key (base64 of its 32 bytes), and what it may sign."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: str
    public: str
    space: str
    models: tuple[str, ...] = (ANY_MODEL,)


_TRUSTED = TypeAdapter(list[TrustedKey])


def statement_of(deployment: DeploymentDecided, part: Traffic, space: str) -> Statement:
    """What is signed about a part of a deployment: the version, and that it has this place in this epoch.

    Without the place, the signed part of a canary of long ago could be brought back with all of the traffic.
    """
    place = (deployment.epoch, deployment.rollout_id or "", deployment.strategy, deployment.unit)
    purpose = "/".join(map(str, (*place, part.variant, part.mode, repr(part.share))))
    return Statement(
        deployment.model, part.version, space, part.artifact_sha256, part.golden_sha256, part.feature_set, purpose
    )


class Signer:
    """Signs statements of one space with one private key."""

    def __init__(self, key: Ed25519PrivateKey, space: str) -> None:
        self._key = key
        self.space = space

    @classmethod
    def load(cls, path: Path, space: str) -> "Signer":
        """The key in a PEM file. Raises ``SigningError``."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SigningError(f"{path} holds no private key: {error}; make one with millrace keys init") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningError(f"{path} holds a {type(key).__name__}, an Ed25519 key is needed: millrace keys init")
        return cls(key, space)

    @property
    def trusted(self) -> TrustedKey:
        """The public half, for ``trusted.json``."""
        public = _raw(self._key.public_key())
        return TrustedKey(key_id=key_id_of(public), public=base64.b64encode(public).decode(), space=self.space)

    def sign(self, statement: Statement) -> Signature:
        """Sign. Raises ``SigningError`` for a statement about another space."""
        if statement.space != self.space:
            raise SigningError(f"the key is for the space {self.space!r}, the statement is about {statement.space!r}")
        value = base64.b64encode(self._key.sign(statement.to_bytes())).decode()
        return Signature(value, self.trusted.key_id)


class Verifier:
    """Holds the public keys that are trusted."""

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        self._keys = {key.key_id: key for key in keys}

    @classmethod
    def load(cls, path: Path) -> "Verifier":
        """The keys in ``trusted.json``. Raises ``SigningError``."""
        return cls(load_trusted(path))

    def verify(self, statement: Statement, signature: str | None, key_id: str | None) -> None:
        """Return if the signature holds; else raise ``SigningError`` with what is wrong."""
        what = f"{statement.model} version {statement.version}"
        if signature is None or key_id is None:
            raise SigningError(f"{what} is not signed; only signed versions serve")
        key = self._keys.get(key_id)
        if key is None:
            raise SigningError(
                f"{what} is signed with the key {key_id}, which is not trusted; known: {sorted(self._keys)}"
            )
        if key.space != statement.space or not {ANY_MODEL, statement.model} & set(key.models):
            raise SigningError(
                f"{what} is signed with the key {key_id}, which is for the space {key.space!r} and the models "
                f"{list(key.models)}, not for {statement.space!r}"
            )
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public, validate=True))
            public.verify(base64.b64decode(signature, validate=True), statement.to_bytes())
        except (InvalidSignature, ValueError) as error:
            raise SigningError(
                f"{what} does not match its signature by {key_id}: it is not what was admitted"
            ) from error


def key_id_of(public: bytes) -> str:
    """The id of a public key.

    >>> key_id_of(bytes(32))
    '66687aadf862bd77'
    """
    return hashlib.sha256(public).hexdigest()[:16]


def make_key(path: Path, space: str, secret: bytes | None = None) -> Signer:
    """Write a new private key, readable by its owner only; there must be no file yet. Raises ``SigningError``.

    ``secret`` is the key itself, 32 bytes, for simulations that have to repeat; None draws one.
    """
    key = Ed25519PrivateKey.generate() if secret is None else Ed25519PrivateKey.from_private_bytes(secret)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise SigningError(f"{path} exists already; a key is never overwritten, move it away first") from error
    path.write_bytes(content)
    return Signer(key, space)


def load_trusted(path: Path) -> list[TrustedKey]:
    """The keys in ``trusted.json``. Raises ``SigningError``."""
    try:
        return _TRUSTED.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SigningError(f"{path} is no list of trusted keys: {error}; millrace keys init writes one") from error


def save_trusted(path: Path, keys: Iterable[TrustedKey]) -> None:
    """Write ``trusted.json``, whole or not at all."""
    text = json.dumps([key.model_dump(mode="json") for key in keys], indent=2) + "\n"
    temporary = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
