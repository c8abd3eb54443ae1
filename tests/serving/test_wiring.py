"""What the settings make of serving: trust nothing, unless they say so."""

import pytest
from pydantic import ValidationError

from services.serving.settings import Settings
from services.serving.verify import TrustedFile
from services.serving.wiring import trust_of

NEEDED = {"bootstrap_servers": "broker:9092", "schema_registry_url": "http://registry", "project": "p"}


def test_by_default_versions_must_be_signed(tmp_path):
    """The keys that are trusted lie where the registry puts them."""
    trust = trust_of(Settings(**NEEDED, data=tmp_path))

    assert isinstance(trust.verifier, TrustedFile)
    assert tmp_path / "keys" / "trusted.json" == trust.verifier._path
    assert trust.probe is not None
    assert trust.alarm is not None
    assert (256 * 1024 * 1024, 10_000) == (trust.limits.bytes_max, trust.limits.nodes_max)


def test_signatures_can_be_switched_off_and_keys_be_elsewhere(tmp_path):
    """In one word each; another word is refused."""
    elsewhere = tmp_path / "elsewhere.json"

    assert trust_of(Settings(**NEEDED, signatures="off")).verifier is None
    assert elsewhere == trust_of(Settings(**NEEDED, trusted_keys=elsewhere)).verifier._path
    with pytest.raises(ValidationError, match="signatures"):
        Settings(**NEEDED, signatures="perhaps")
