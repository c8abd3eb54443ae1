"""docs/metrics.md is what the code declares."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_the_codes() -> None:
    """Every metric with its kind and labels, as docs/generate_metrics.py writes it."""
    spec = importlib.util.spec_from_file_location("generate_metrics", DOCS / "generate_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()

    assert page.count("| `millrace_") >= 55
    assert page == (DOCS / "metrics.md").read_text(encoding="utf-8"), "run python docs/generate_metrics.py"
