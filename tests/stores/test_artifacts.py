"""Artefacts are their own proof."""

import hashlib
import threading

import pytest

from millrace.contracts.errors import ArtifactError
from millrace.stores.artifacts import ArtifactStore


def test_what_is_put_is_got_by_its_hash(tmp_path):
    """The address is the SHA-256 of the content; putting it again changes nothing."""
    store = ArtifactStore(tmp_path)
    digest = store.put(b"model")

    assert digest == hashlib.sha256(b"model").hexdigest() == store.put(b"model")
    assert store.get(digest) == b"model"
    assert [digest] == [path.name for path in tmp_path.rglob("*") if path.is_file()]


def test_damage_is_seen(tmp_path):
    """A changed byte is refused with both hashes."""
    store = ArtifactStore(tmp_path)
    digest = store.put(b"model")
    next(path for path in tmp_path.rglob(digest)).write_bytes(b"modeL")
    with pytest.raises(ArtifactError, match=f"{digest} is damaged: its 5 bytes hash to"):
        store.get(digest)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "AB" * 32, "ab" * 31])
def test_an_address_that_is_none_is_refused(tmp_path, digest):
    """Nothing outside the store can be asked for."""
    with pytest.raises(ArtifactError, match="is no SHA-256"):
        ArtifactStore(tmp_path).get(digest)


def test_a_missing_one_is_named(tmp_path):
    """The message says which, and where it was looked for."""
    with pytest.raises(ArtifactError, match=f"{'ab' * 32} cannot be read from {tmp_path}"):
        ArtifactStore(tmp_path).get("ab" * 32)


def test_many_may_put_the_same_at_once(tmp_path):
    """Writers of the same bytes do not get in each other's way."""
    store, content, errors = ArtifactStore(tmp_path), b"m" * 200_000, []

    def put() -> None:
        try:
            store.put(content)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    assert store.get(hashlib.sha256(content).hexdigest()) == content
