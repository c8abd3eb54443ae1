"""The import contracts hold, and would notice if they did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = {
    "one service imports another": ("services/ingest/core.py", "import services.serving.core\n"),
    "a core does I/O": ("services/serving/core.py", "import socket\n"),
    "a second file speaks Kafka": ("services/monitor/shell.py", "import aiokafka\n"),
    "a contract imports the bus": ("millrace/contracts/topics.py", "import millrace.bus.types\n"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path):
    """A copy of the tree that may be spoilt."""
    for name in ("millrace", "services", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_are_kept(tree):
    """All of them, and there are at least five."""
    result = lint(tree)

    assert result.returncode == 0, result.stdout
    assert result.stdout.count(" KEPT") >= 5


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_violation_is_found(tree, fault):
    """Each kind of wrong import breaks a contract."""
    name, line = PLANTED[fault]
    path = tree / name
    path.write_text(path.read_text() + "\n" + line)
    result = lint(tree)

    assert result.returncode == 1, result.stdout
    assert " BROKEN" in result.stdout
