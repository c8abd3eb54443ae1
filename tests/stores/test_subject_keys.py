"""The key store: keys stay, are shared by processes, and are gone once destroyed."""

import itertools
import multiprocessing
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.stores.pepper import SubjectKeysError, pepper_of
from millrace.stores.subject_keys import CHECK_EVERY_MS, Life, SubjectKeys, SubjectKeysUnavailableError
from tests.registry.test_postgres import server  # noqa: F401  # a fixture

PEPPER = b"pepper-of-tests-pepper-of-tests-"
NOW_MS = 1_600_000_000_000


def counted() -> Callable[[int], bytes]:
    """Random bytes that a test can foretell."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store on file that nobody has opened."""
    return f"sqlite:///{tmp_path / 'deep' / 'keys.db'}"


@pytest.fixture
def keys(url: str) -> Iterator[SubjectKeys]:
    """One process's view of it."""
    store = SubjectKeys(url, PEPPER, "tiny", counted())
    yield store
    store.close()


def test_a_key_is_made_once_and_kept(url: str, keys: SubjectKeys) -> None:
    """Asked again, by this process or another, it is the same; two persons have different ones."""
    first = keys.keys_for(["ada", "bob", "ada"], NOW_MS)
    other = SubjectKeys(url, PEPPER, "tiny", counted())

    assert {"ada", "bob"} == set(first)
    assert first["ada"] != first["bob"]
    assert 32 == len(first["ada"])
    assert first == keys.keys_for(["bob", "ada"], NOW_MS + 1) == other.keys_for(["ada", "bob"], NOW_MS + 1)
    assert [Life(1, first["ada"], NOW_MS, None, None)] == keys.lives("ada")
    other.close()


def test_nobody_is_nobody(keys: SubjectKeys) -> None:
    """No persons, no keys; asking about a person makes no key."""
    assert {} == keys.keys_for([], NOW_MS)
    assert [] == keys.lives("ada")
    assert keys.destroy("ada", 1, NOW_MS) is None
    assert [] == keys.lives("ada")


def test_a_destroyed_key_is_gone_and_a_person_who_comes_again_has_another(keys: SubjectKeys) -> None:
    """A new life, and what was known of the old one apart from its key; destroying twice changes nothing."""
    old = keys.keys_for(["ada"], NOW_MS)["ada"]

    assert Life(1, None, NOW_MS, NOW_MS + 1, "p") == keys.destroy("ada", 1, NOW_MS + 1, "p")
    assert keys.destroy("ada", 1, NOW_MS + 2, "q") is None
    new = keys.keys_for(["ada"], NOW_MS + 3)["ada"]

    assert old != new
    assert [Life(2, new, NOW_MS + 3, None, None), Life(1, None, NOW_MS, NOW_MS + 1, "p")] == keys.lives("ada")


def test_finishing_takes_away_the_last_link(keys: SubjectKeys) -> None:
    """The pseudonym is forgotten, the new life is not touched."""
    keys.keys_for(["ada"], NOW_MS)
    keys.destroy("ada", 1, NOW_MS, "p")
    new = keys.keys_for(["ada"], NOW_MS)["ada"]

    keys.finish("ada")

    assert [(new, None), (None, None)] == [(life.key, life.pseudonym) for life in keys.lives("ada")]


def test_only_the_life_that_was_meant_is_destroyed(keys: SubjectKeys) -> None:
    """A person who came again meanwhile keeps the new key."""
    keys.keys_for(["ada"], NOW_MS)
    keys.destroy("ada", 1, NOW_MS)
    new = keys.keys_for(["ada"], NOW_MS)

    assert keys.destroy("ada", 1, NOW_MS) is None
    assert new == keys.keys_for(["ada"], NOW_MS)


def test_another_process_notices_a_destroyed_key(url: str, keys: SubjectKeys) -> None:
    """After a moment its next call gives the new one, although it had the old one in memory."""
    other = SubjectKeys(url, PEPPER, "tiny")
    before = other.keys_for(["ada", "bob"], NOW_MS)
    generation = other.generation

    keys.destroy("ada", 1, NOW_MS)
    at_once = other.keys_for(["ada", "bob"], NOW_MS + CHECK_EVERY_MS - 1)
    after = other.keys_for(["ada", "bob"], NOW_MS + CHECK_EVERY_MS)

    assert before == at_once
    assert before["bob"] == after["bob"]
    assert before["ada"] != after["ada"]
    assert generation + 1 == other.generation
    other.close()


def test_the_cache_is_bounded(url: str) -> None:
    """More persons than it holds are served all the same, with their own keys."""
    small = SubjectKeys(url, PEPPER, "tiny", counted(), cached_max=3)
    many = [f"person {number}" for number in range(1_203)]  # three questions of 500 hashes

    found = small.keys_for(many, NOW_MS)

    assert 1_203 == len(set(found.values()))
    assert 3 == len(small._cache)
    assert found == small.keys_for(many, NOW_MS)
    small.close()


def test_streams_have_keys_of_their_own(url: str, keys: SubjectKeys) -> None:
    """Erasing a person from one stream leaves the other, which names them by another pseudonym, as it is."""
    other = SubjectKeys(url, PEPPER, "huge")
    there = other.keys_for(["ada"], NOW_MS)

    assert there != keys.keys_for(["ada"], NOW_MS)
    keys.destroy("ada", 1, NOW_MS)

    assert there == other.keys_for(["ada"], NOW_MS)
    other.close()


def test_the_store_holds_no_names_and_no_destroyed_keys(tmp_path: Path) -> None:
    """Not a byte of either in any of its files, journal included; and nobody else may read them."""
    folder = tmp_path / "keys"
    store = SubjectKeys(f"sqlite:///{folder / 'keys.db'}", PEPPER, "tiny")
    many = store.keys_for([*(f"p{number}" for number in range(500)), "ada lovelace"], NOW_MS)
    key, another = many["ada lovelace"], many["p7"]
    written = b"".join(file.read_bytes() for file in folder.iterdir())
    modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}

    store.destroy("ada lovelace", 1, NOW_MS)
    left = b"".join(file.read_bytes() for file in folder.iterdir())
    store.close()

    assert (True, True) == (key in written, another in written)
    assert (False, True) == (key in left, another in left)
    assert b"lovelace" not in written + left
    assert {0o600} == modes


def test_another_pepper_is_refused(url: str, keys: SubjectKeys) -> None:
    """It would find nobody, and give everybody a second key in silence."""
    keys.keys_for(["ada"], NOW_MS)

    with pytest.raises(SubjectKeysError, match="made with another pepper"):
        SubjectKeys(url, PEPPER[::-1], "tiny").keys_for(["ada"], NOW_MS)


def test_a_database_that_is_none_is_said_without_its_content(tmp_path: Path) -> None:
    """The message names the store and what to do, and holds nothing of a row."""
    (tmp_path / "keys.db").write_bytes(b"this is not a database" * 100)
    store = SubjectKeys(f"sqlite:///{tmp_path / 'keys.db'}", PEPPER, "tiny")

    with pytest.raises(SubjectKeysError, match=r"keys\.db is no key store of ours: DatabaseError"):
        store.keys_for(["ada"], NOW_MS)
    store.close()


def test_a_locked_database_can_be_tried_again(url: str, keys: SubjectKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot write a key gets none; the next call goes on."""
    monkeypatch.setattr("millrace.stores.subject_keys.BUSY_S", 0.05)
    keys.keys_for(["ada"], NOW_MS)
    hasty = SubjectKeys(url, PEPPER, "tiny")
    assert {"ada"} == set(hasty.keys_for(["ada"], NOW_MS))
    lock = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")

    with pytest.raises(SubjectKeysUnavailableError, match="does not answer: database is locked"):
        hasty.keys_for(["bob"], NOW_MS)
    lock.close()

    assert {"bob"} == set(hasty.keys_for(["bob"], NOW_MS))
    hasty.close()


def _make(arguments: tuple[str, int]) -> dict[str, bytes]:
    """One process of several that meet the same persons for the first time."""
    url, seed = arguments
    store = SubjectKeys(url, PEPPER, "tiny")
    found: dict[str, bytes] = {}
    for batch in range(10):
        found |= store.keys_for([f"p{(seed * 7 + batch * 13 + one) % 300}" for one in range(60)], NOW_MS)
    store.close()
    return found


def test_processes_agree_on_the_first_key(url: str) -> None:
    """Whoever is first makes it, and the store itself."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_make, [(url, seed) for seed in range(2)])

    for one, other in itertools.combinations(found, 2):
        both = one.keys() & other.keys()
        assert len(both) > 50
        assert [one[name] for name in both] == [other[name] for name in both]


def test_threads_share_a_store(keys: SubjectKeys) -> None:
    """Lanes of one process ask at once."""
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: keys.keys_for([f"p{one}" for one in range(50)], NOW_MS), range(8)))

    assert [found[0]] * 8 == found


def test_postgres_keeps_keys_too(server: str) -> None:  # noqa: F811  # the fixture
    """The same life there: made once, destroyed, made anew."""
    one, other = (SubjectKeys(server, PEPPER, "tiny") for _ in range(2))
    many = [f"p{number}" for number in range(700)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda store: store.keys_for(many, NOW_MS), (one, other)))

    assert found[0] == found[1]
    assert one.destroy("p1", 1, NOW_MS, "p") is not None
    assert found[1]["p1"] != other.keys_for(["p1"], NOW_MS + CHECK_EVERY_MS)["p1"]
    other.finish("p1")
    assert [None, None] == [life.pseudonym for life in one.lives("p1")]
    for store in (one, other):
        store.close()


def test_a_pepper_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600, the same content for whoever asks later."""
    file = tmp_path / "deep" / "pepper"

    first = pepper_of(None, file, counted())

    assert first == pepper_of(None, file) == f"{1:064x}".encode()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == list(file.parent.iterdir())
    assert b"x" * 32 == pepper_of("x" * 32, file)


@pytest.mark.parametrize(
    ("content", "mode", "given", "words"),
    [
        ("x" * 64, 0o640, None, "has mode 0640: others may read it; chmod 600"),
        ("short", 0o600, None, r"pepper file .* has 5 characters, at least 32"),
        ("x" * 64, 0o600, "short", "MILLRACE_PEPPER has 5 characters"),
    ],
)
def test_a_pepper_that_is_no_secret_is_refused(
    tmp_path: Path, content: str, mode: int, given: str | None, words: str
) -> None:
    """The message says which, and the way out, and not what it is."""
    file = tmp_path / "pepper"
    file.write_text(content)
    file.chmod(mode)

    with pytest.raises(SubjectKeysError, match=words) as caught:
        pepper_of(given, file)

    assert content not in str(caught.value)


def test_a_pepper_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A folder is no file."""
    with pytest.raises(SubjectKeysError, match="cannot be used"):
        pepper_of(None, tmp_path)
