"""A record is opened with care: it comes from a store that others may write to."""

import io
import zipfile

import pytest

from millrace.contracts.errors import ArtifactError
from millrace.runs import record
from millrace.runs.record import files_of, numbers, table


def zipped(**files: bytes) -> bytes:
    """A zip file; two underscores in a name are a slash."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return made.getvalue()


def test_its_files_come_by_name() -> None:
    """And its tables by row; a table that is absent is empty."""
    files = files_of(zipped(history=b"step,train_loss,validation_loss\n1,0.5,\n2,0.25,0.75\n"))
    rows = table(files, "history")

    assert [(1, 0.5), (2, 0.25)] == numbers(rows, "train_loss")
    assert [(2, 0.75)] == numbers(rows, "validation_loss")
    assert [] == table(files, "trials.csv")


@pytest.mark.parametrize("name", ["..__..__etc__passwd", "__root", "folder__file", ".hidden", "a\\b", "name\n"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """Before anything is written."""
    with pytest.raises(ArtifactError, match="plain file names, not"):
        files_of(zipped(**{name: b""}))


def test_a_record_that_unpacks_to_more_than_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is known before it is unpacked."""
    monkeypatch.setattr(record, "BYTES_MAX", 10)

    with pytest.raises(ArtifactError, match="11 bytes unpacked, 10 are allowed"):
        files_of(zipped(big=b"01234567890"))


def test_what_is_no_zip_file_or_is_damaged_is_refused() -> None:
    """In words, not with whatever the library raises."""
    whole = zipped(file=b"some content that has a checksum")
    flipped = whole.replace(b"checksum", b"checksun", 1)
    for content in (b"", b"nonsense", whole[:40], flipped):
        with pytest.raises(ArtifactError, match="no record of a run"):
            files_of(content)
