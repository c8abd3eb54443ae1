"""The whole demo on the real broker, as `make demo-rollout` runs it, faster."""

import json

import pytest
from click.testing import CliRunner

from millrace.cli.demo_rollout import command
from millrace.demo_rollout.models import BAD


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.matrix
def test_every_bad_model_is_stopped_and_the_sound_one_is_not(tmp_path):
    """As the topics tell it: what stopped each, how many events it answered, and that none was lost or doubled."""
    arguments = ["examples/electricity", "--rate", "1000", "--data", str(tmp_path / "data"), "--json"]
    result = CliRunner().invoke(command, [*arguments, "--report", str(tmp_path / "reports")], catch_exceptions=False)
    report = json.loads((tmp_path / "reports" / "demo-rollout.json").read_text())
    failed = [check for check in report["checks"] if not check["passed"] and check["name"] != "rollback-under-a-second"]

    assert [] == failed, result.output  # how long a rollback takes is for the demo to say, not for a test
    assert {*BAD, "tampered"} == set(report["cases"])
    assert all(case["stopped"] for case in report["cases"].values())
    by = {name: case["guardrail"] for name, case in report["cases"].items()}
    assert "signature" == by.pop("tampered")
    assert set(by.values()) & {"metric", "latency", "missing", "errors"}, by  # which ones pass the gate depends on rows
    assert {"demo-rollout.json", "demo-rollout.html", "demo-rollout.svg"} == {
        path.name for path in (tmp_path / "reports").iterdir()
    }
