"""Rules name the way out, and each has its section in the runbooks; promtool tests the important ones."""

import re
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.deployment import ROOT, load, rules

RUNBOOKS = ROOT / "docs/runbooks.md"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: tests/apt.sh installs it")
ALERTS = [rule for rule in rules(load()) if "alert" in rule]
RULES_TEST = ROOT / "tests/deploy/rules_test.yml"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_the_way_out(rule):
    """How grave, what was seen, what to do, and where more is written."""
    assert rule["labels"]["severity"] in {"warning", "critical"}
    notes = rule["annotations"]
    assert {"summary", "description", "runbook_url"} == notes.keys()
    assert len(notes["summary"]) <= 150
    assert notes["summary"][-1] != "."
    assert re.search(r"[.!]$", notes["description"]), "sentences"
    assert f"docs/runbooks.md#{rule['alert'].lower()}" == notes["runbook_url"]


def test_each_alert_has_a_section_and_each_section_an_alert():
    """In the same order, each with what to look at and how to mend."""
    text = RUNBOOKS.read_text()
    sections = dict(zip(*[iter(re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)[1:])] * 2, strict=True))

    assert [rule["alert"] for rule in ALERTS] == list(sections)
    assert len(sections) >= 25
    assert [] == [name for name, body in sections.items() if "- Look" not in body or "mend" not in body.lower()]


def test_commands_in_runbooks_and_rules_exist():
    """Whoever is woken at night types what stands there."""
    from millrace.cli.main import COMMANDS

    texts = [RUNBOOKS.read_text(), *(rule["annotations"]["description"] for rule in ALERTS)]
    named = {command for text in texts for command in re.findall(r"`millrace ([a-z-]+)", text)}

    assert {"dead-letters", "retrain", "rollback", "models"} <= named
    assert set() == named - set(COMMANDS)


@needs_promtool
@pytest.mark.parametrize(("what", "file"), [("config", "prometheus.yml"), ("rules", "rules.yml")])
def test_promtool_accepts_the_files(what, file):
    """As Prometheus would."""
    done = promtool("check", what, str(ROOT / "deploy/prometheus" / file))

    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_important_alerts_have_a_unit_test_each_way():
    """One where it fires, and one where it must not."""
    fires, quiet = set(), set()
    for group in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        name, (case,) = group["name"].split()[0], group["promql_expr_test"]
        assert f'alertname="{name}"' in case["expr"]
        series = " ".join(one["series"] for one in group["input_series"])
        fires |= {name} if case["exp_samples"] else set()
        quiet |= {name} if not case["exp_samples"] or '"good' in series else set()

    assert {rule["alert"] for rule in ALERTS} == fires
    assert fires == quiet


@needs_promtool
def test_the_unit_tests_pass():
    """Against series that are written down, minute by minute."""
    done = promtool("test", "rules", str(RULES_TEST))

    assert 0 == done.returncode, done.stdout + done.stderr


@needs_promtool
def test_the_unit_tests_notice_a_rule_that_never_fires(tmp_path):
    """With a threshold out of reach the same tests fail."""
    spoilt = (ROOT / "deploy/prometheus/rules.yml").read_text().replace('up{job="millrace"} == 0', "up == 7")
    (tmp_path / "rules.yml").write_text(spoilt)
    first = yaml.safe_load(RULES_TEST.read_text())
    first |= {"rule_files": ["rules.yml"], "tests": first["tests"][:1]}
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(first))

    assert "ServiceDown fires" == first["tests"][0]["name"]
    assert 0 != promtool("test", "rules", str(tmp_path / "rules_test.yml")).returncode


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it."""
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60)
