"""What the documents say is what the code does."""

import importlib.util
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from millrace.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]


def generator():
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_topic_table_is_the_codes():
    """ARCHITECTURE.md holds the table that docs/generate.py writes from the code."""
    table = generator().topic_table()

    assert table.count("\n") == 26
    assert table in (ROOT / "ARCHITECTURE.md").read_text(), "run python docs/generate.py"


def test_the_settings_are_the_codes():
    """docs/settings.md holds every variable that a service reads."""
    table = generator().settings_table()

    assert table.count("MILLRACE_") > 12
    assert table in (ROOT / "docs" / "settings.md").read_text(), "run python docs/generate.py"


def test_architecture_is_short():
    """At most 200 lines."""
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 200


def test_every_path_that_the_documents_name_exists():
    """Links and paths in backticks lead somewhere."""
    seen, missing = 0, []
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        linked = re.findall(r"\]\(([^)#:]+)\)", text)
        quoted = re.findall(r"`((?:millrace|services|schemas|docs|examples|tests|deploy)/[\w./-]+)`", text)
        for path in [*linked, *quoted]:
            seen += 1
            if not (ROOT / path).exists():
                missing.append(f"{name}: {path}")

    assert seen > 30, "the guard must see the paths"
    assert [] == missing


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    """``millrace <command> --help`` answers, and says more than its name."""
    result = CliRunner().invoke(cli, [name, "--help"])

    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output
    assert len(result.output.splitlines()) > 5


def test_readme_names_only_commands_that_exist():
    """Each ``millrace <command>`` in the README is a command."""
    named = set(re.findall(r"bin/millrace ([a-z-]+)", (ROOT / "README.md").read_text()))

    assert len(named) > 4
    assert named <= set(COMMANDS)
