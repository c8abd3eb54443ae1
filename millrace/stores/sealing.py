"""Encryption of artefacts at rest: AES-256-GCM under one key that trainer, registry and serving share.

A sealed file is eight bytes that say so, a random nonce of twelve, and the ciphertext with its tag. The digest under
which it is kept is that of the plain content and is authenticated with it, so one file cannot be put in the place of
another. What was written before encryption was configured stays readable, and is sealed when it is put again.
"""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from millrace.contracts.errors import ArtifactError

MAGIC = b"MLRSEAL1"
NONCE_BYTES = 12
KEY_BYTES = 32


class Seal:
    """Seals and opens with one key.

    Args:
        key: 32 bytes, base64, such as ``openssl rand -base64 32`` prints.

    Raises:
        ArtifactError: it is no such key.
    """

    def __init__(self, key: str) -> None:
        try:
            raw = base64.b64decode(key, validate=True)
        except ValueError as error:
            raise ArtifactError(f"the key of the artefacts is not base64: {error}; openssl rand -base64 32") from error
        if len(raw) != KEY_BYTES:
            raise ArtifactError(f"the key of the artefacts has {len(raw)} bytes, {KEY_BYTES} are needed")
        self._cipher = AESGCM(raw)

    def close(self, content: bytes, digest: str) -> bytes:
        """The sealed form of what has this digest."""
        nonce = os.urandom(NONCE_BYTES)
        return MAGIC + nonce + self._cipher.encrypt(nonce, content, digest.encode())

    def open(self, sealed: bytes, digest: str) -> bytes:
        """The content. Raises ``ArtifactError`` if key, digest or bytes are not those that it was sealed with."""
        start = len(MAGIC) + NONCE_BYTES
        try:
            return self._cipher.decrypt(sealed[len(MAGIC) : start], sealed[start:], digest.encode())
        except (InvalidTag, ValueError) as error:
            raise ArtifactError(
                f"artefact {digest} cannot be opened: it is damaged, or sealed with another key than this process has"
            ) from error


def is_sealed(content: bytes) -> bool:
    """Whether these bytes are a sealed file."""
    return content.startswith(MAGIC)
