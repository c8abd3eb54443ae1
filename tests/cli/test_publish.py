"""`millrace publish` before it talks to anybody: what is wrong is said clearly."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from millrace.cli.publish import command
from millrace.contracts.errors import MillraceError
from tests.demo.scene import stream_project


def outcome(*arguments: object) -> tuple[int, str]:
    """Status and message of a call."""
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    said = str(result.exception) if isinstance(result.exception, MillraceError) else result.output
    return result.exit_code, said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["nothing runs on", "millrace up"]),
        (["--bootstrap", "localhost:1"], ["--schema-registry is missing"]),
        (["--from-row", "401"], ["400 rows", "--from-row 401"]),
        (["--rate", "-1"], ["--rate"]),
    ],
)
def test_a_call_that_cannot_work_says_why(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    """Nothing runs, half an address, a row behind the end, a rate below 0."""
    stream_project(tmp_path / "project")
    status, said = outcome(tmp_path / "project", "--data", tmp_path / "data", *arguments)

    assert 0 != status
    assert [] == [word for word in words if word not in said], said


def test_bad_rows_are_found_before_anything_is_sent(tmp_path: Path) -> None:
    """The file is wrong and nothing runs: the file is named."""
    stream_project(tmp_path / "project")
    (tmp_path / "bad.csv").write_text("x,truth\n1,yes\nabc,no\n")
    status, said = outcome(tmp_path / "project", tmp_path / "bad.csv", "--data", tmp_path / "data")

    assert (1, True) == (status, "row 1, column 'x': the value is 'abc'" in said)
