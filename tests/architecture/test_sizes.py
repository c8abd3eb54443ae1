"""The tail is what makes a codebase hard to read, so the tail is what is held."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_LINES = 400
FUNCTION_LINES = 70
MAIN_LINES = 40
SERVICES = ("ingest", "trainer", "registry", "serving", "monitor")
EVERY_SERVICE_HAS = ("__init__.py", "__main__.py", "settings.py", "core.py", "shell.py")


def sources(*folders: str) -> list[Path]:
    """The Python files under these folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def too_long(path: Path, text: str) -> list[str]:
    """What is longer than the house allows, in words."""
    found = [f"{path}: {len(text.splitlines())} lines"] if len(text.splitlines()) > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    return found


def test_no_file_and_no_function_is_too_long():
    """Files end at 400 lines, functions at 70."""
    files = sources("millrace", "services", "tests", "examples")

    assert len(files) > 100, "the guard must see the tree"
    assert [] == [line for path in files for line in too_long(path.relative_to(ROOT), path.read_text())]


def test_the_guard_sees_a_planted_fault():
    """A function of 71 lines and a file of 401 are found."""
    function = "def planted():\n" + "    x = 1\n" * 70

    assert ["p.py:1 planted: 71 lines"] == too_long(Path("p.py"), function)
    assert ["p.py: 401 lines"] == too_long(Path("p.py"), "x = 1\n" * 401)


def test_every_service_has_the_same_files():
    """Who knows one service knows where to look in the others."""
    missing = [
        f"{service}/{name}"
        for service in SERVICES
        for name in EVERY_SERVICE_HAS
        if not (ROOT / "services" / service / name).is_file()
    ]

    assert [] == missing


def test_an_entry_has_no_logic():
    """``__main__.py`` wires, in at most 40 lines; ``__init__.py`` is a docstring that says what the service owns."""
    for service in SERVICES:
        folder = ROOT / "services" / service
        assert len((folder / "__main__.py").read_text().splitlines()) <= MAIN_LINES
        body = ast.parse((folder / "__init__.py").read_text()).body
        assert [True] == [isinstance(node, ast.Expr) for node in body]
