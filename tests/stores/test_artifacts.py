"""Artefacts are their own proof."""

import base64
import hashlib
import threading

import pytest

from millrace.contracts.errors import ArtifactError, ArtifactStoreUnavailableError
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.sealing import is_sealed


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


def test_damage_is_repaired_by_putting_it_again(tmp_path):
    """What is there is read, not believed: a damaged file is replaced by the whole one."""
    store = ArtifactStore(tmp_path)
    digest = store.put(b"model")
    next(path for path in tmp_path.rglob(digest)).write_bytes(b"mod")

    assert digest == store.put(b"model")
    assert store.get(digest) == b"model"


def test_a_missing_one_is_named(tmp_path):
    """The message says which, and where it was looked for. Trying again cannot help."""
    store = ArtifactStore(tmp_path)
    store.put(b"another")
    with pytest.raises(ArtifactError, match=f"{'ab' * 32} is missing: there is no {tmp_path}") as caught:
        store.get("ab" * 32)

    assert not caught.value.retryable


def test_a_store_that_is_away_is_not_a_missing_artefact(tmp_path):
    """A folder that is not mounted says nothing about the file; when it is back, so is the file."""
    store = ArtifactStore(tmp_path / "here")
    digest = store.put(b"model")
    (tmp_path / "here").rename(tmp_path / "away")
    with pytest.raises(ArtifactStoreUnavailableError, match=f"there is no artefact store at {tmp_path}") as caught:
        store.get(digest)
    (tmp_path / "away").rename(tmp_path / "here")

    assert caught.value.retryable
    assert store.get(digest) == b"model"


def test_a_store_that_does_not_answer_is_said_to(tmp_path):
    """Any other trouble of the file system can pass, while reading and while writing. Nothing half is left."""
    (tmp_path / "sha256").mkdir()
    digest = hashlib.sha256(b"model").hexdigest()
    blocked = tmp_path / "sha256" / digest[:2]
    blocked.write_bytes(b"no folder")
    store = ArtifactStore(tmp_path)
    with pytest.raises(ArtifactStoreUnavailableError, match=f"{digest} cannot be read from {tmp_path}"):
        store.get(digest)
    with pytest.raises(ArtifactStoreUnavailableError, match=f"{digest} cannot be written to {tmp_path}"):
        store.put(b"model")

    assert [blocked] == [path for path in tmp_path.rglob("*") if path.is_file()]


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


KEY, OTHER_KEY = (base64.b64encode(bytes([at]) * 32).decode() for at in (1, 2))


def test_with_a_key_nothing_of_it_can_be_read_on_the_disk(tmp_path):
    """Its address is still the digest of what it is, and putting it again changes nothing."""
    store = ArtifactStore(tmp_path, KEY)
    digest = store.put(b"the weights of the model")
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    sealed = file.read_bytes()

    assert hashlib.sha256(b"the weights of the model").hexdigest() == digest == file.name
    assert b"weights" not in sealed
    assert b"the weights of the model" == store.get(digest)
    assert digest == store.put(b"the weights of the model")
    assert sealed == file.read_bytes()


@pytest.mark.parametrize(("key", "words"), [(None, "MILLRACE_ARTIFACTS_KEY"), (OTHER_KEY, "another key")])
def test_without_the_key_it_is_refused(tmp_path, key, words):
    """In words that say what is missing."""
    digest = ArtifactStore(tmp_path, KEY).put(b"model")

    with pytest.raises(ArtifactError, match=words):
        ArtifactStore(tmp_path, key).get(digest)


def test_a_sealed_file_does_not_pass_for_another(tmp_path):
    """The digest is sealed with it: what is moved to another address cannot be opened there."""
    store = ArtifactStore(tmp_path, KEY)
    one, other = store.put(b"one"), store.put(b"other")
    files = {path.name: path for path in tmp_path.rglob("*") if path.is_file()}
    files[other].write_bytes(files[one].read_bytes())

    with pytest.raises(ArtifactError, match=f"{other} cannot be opened"):
        store.get(other)
    assert other == store.put(b"other")
    assert b"other" == store.get(other)


def test_what_was_written_in_the_clear_is_read_and_sealed_when_put_again(tmp_path):
    """So encryption can be switched on for a store that is in use."""
    digest = ArtifactStore(tmp_path).put(b"model")
    sealing = ArtifactStore(tmp_path, KEY)
    before = sealing.get(digest)
    sealing.put(b"model")
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert b"model" == before == sealing.get(digest)
    assert is_sealed(file.read_bytes())


@pytest.mark.parametrize("key", ["short", base64.b64encode(b"x").decode()])
def test_a_key_that_is_none_is_refused_at_once(tmp_path, key):
    """With how to make one, or the length that was seen."""
    with pytest.raises(ArtifactError, match="the key of the artefacts"):
        ArtifactStore(tmp_path, key)
