"""``millrace keys``: a key for each space, rotated without a pause, revoked without cutting off the branch."""

import json

import pytest
from click.testing import CliRunner

from millrace.cli.keys import command
from millrace.stores.signing import Signer, SigningError, Statement, Verifier


def invoke(folder, *arguments: str) -> str:
    """The command's output; its error is raised."""
    return CliRunner().invoke(command, [*arguments, "--keys", str(folder)], catch_exceptions=False).output


def statement(space: str = "production") -> Statement:
    """About a version."""
    return Statement("electricity", 3, space, "a" * 64, None, "f")


def signed(folder, space: str = "production"):
    """A signature with the key that signs now."""
    return Signer.load(folder / f"{space}.pem", space).sign(statement(space))


def test_init_makes_a_key_for_each_space_once(tmp_path):
    """Private ones for their owner's eyes only, and both are trusted."""
    made = json.loads(invoke(tmp_path, "init", "--json"))

    assert ["test", "production"] == [key["space"] for key in made]
    assert [0o600, 0o600] == [(tmp_path / f"{key['space']}.pem").stat().st_mode & 0o777 for key in made]
    assert [] == json.loads(invoke(tmp_path, "init", "--json"))
    for key in made:
        one = signed(tmp_path, key["space"])
        Verifier.load(tmp_path / "trusted.json").verify(statement(key["space"]), one.value, one.key_id)


def test_a_rotated_key_signs_and_the_old_ones_signatures_still_hold(tmp_path):
    """Until it is revoked: then what it signed is refused."""
    invoke(tmp_path, "init")
    before = signed(tmp_path)
    invoke(tmp_path, "rotate", "production")
    after = signed(tmp_path)
    verifier = Verifier.load(tmp_path / "trusted.json")

    assert before.key_id != after.key_id
    for one in (before, after):
        verifier.verify(statement(), one.value, one.key_id)
    invoke(tmp_path, "revoke", before.key_id)
    with pytest.raises(SigningError, match="not trusted"):
        Verifier.load(tmp_path / "trusted.json").verify(statement(), before.value, before.key_id)


def test_the_key_that_signs_cannot_be_revoked(tmp_path):
    """Nor one that nobody trusts; both are told apart."""
    invoke(tmp_path, "init")

    with pytest.raises(SigningError, match="rotate first"):
        invoke(tmp_path, "revoke", signed(tmp_path).key_id)
    with pytest.raises(SigningError, match="is not trusted"):
        invoke(tmp_path, "revoke", "feedfeedfeedfeed")


def test_list_tells_who_signs(tmp_path):
    """The new key signs, the old one is trusted only."""
    invoke(tmp_path, "init")
    invoke(tmp_path, "rotate", "test")
    listed = {(key["space"], key["signs"]) for key in json.loads(invoke(tmp_path, "list", "--json"))}

    assert {("test", False), ("test", True), ("production", True)} == listed
    assert 3 == len(invoke(tmp_path, "list").splitlines())
