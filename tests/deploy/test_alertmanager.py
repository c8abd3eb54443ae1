"""Alertmanager's configuration comes out right, whichever ways are named."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.deployment import load, rules
from tests.deploy.servers import FILES, render

CONSOLE = {"ALERT_CONSOLE_URL": "http://console:8080"}
MAIL = {**CONSOLE, "ALERT_FROM": "a@example.org", "ALERT_TO": "b@example.org, c@example.org"}
WEBHOOK = {**CONSOLE, "ALERT_WEBHOOK_URL": "https://example.org/hook?a=1&b=2"}
SECRET = {**CONSOLE, "ALERT_CONSOLE_SECRET": "it's"}
EVERY = [CONSOLE, WEBHOOK, SECRET, {**MAIL, **WEBHOOK, **SECRET, "ALERT_SMTP_URL": "smtp://mail"}]


@pytest.mark.skipif(shutil.which("amtool") is None, reason="no amtool here: tests/apt.sh installs it")
@pytest.mark.parametrize("environment", EVERY)
def test_alertmanager_accepts_it(environment: dict[str, str], tmp_path: Path) -> None:
    """As amtool judges."""
    (tmp_path / "alertmanager.yml").write_text(render(environment))
    done = subprocess.run(
        ["amtool", "check-config", tmp_path / "alertmanager.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environment", "urls"),
    [
        (CONSOLE, ["http://console:8080/api/alertmanager"]),
        (WEBHOOK, ["http://console:8080/api/alertmanager", "https://example.org/hook?a=1&b=2"]),
    ],
)
def test_webhooks_are_those_named(environment: dict[str, str], urls: list[str]) -> None:
    """The console always, and one more where it is named; nothing else."""
    (receiver,) = yaml.safe_load(render(environment))["receivers"]

    assert urls == [one["url"] for one in receiver["webhook_configs"]]
    assert "email_configs" not in receiver
    assert "http_config" not in receiver["webhook_configs"][0]


def test_the_console_is_given_its_token() -> None:
    """And the other webhook is not."""
    first, second = yaml.safe_load(render({**WEBHOOK, **SECRET}))["receivers"][0]["webhook_configs"]

    assert "it's" == first["http_config"]["authorization"]["credentials"]
    assert "http_config" not in second


@pytest.mark.parametrize(
    ("url", "host", "user", "password", "tls"),
    [
        ("smtp://mail", "mail:25", "", "", False),
        ("smtp://127.0.0.1:2525/", "127.0.0.1:2525", "", "", False),
        ("smtps://mail.example.org", "mail.example.org:465", "", "", False),
        ("smtp+starttls://ops:p%40s%2Fs%25%27@mail", "mail:587", "ops", "p@s/s%'", True),
        ("smtp+starttls://ops@example.org:word@mail:26", "mail:26", "ops@example.org", "word", True),
    ],
)
def test_a_mail_server_is_read_from_its_address(url: str, host: str, user: str, password: str, *, tls: bool) -> None:
    """As the console's own route reads it, so that one variable serves both."""
    (receiver,) = yaml.safe_load(render({**MAIL, "ALERT_SMTP_URL": url}))["receivers"]
    (mail,) = receiver["email_configs"]

    assert (host, user, password, tls) == tuple(
        mail[name] for name in ("smarthost", "auth_username", "auth_password", "require_tls")
    )
    assert "b@example.org, c@example.org" == mail["to"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "ALERT_CONSOLE_URL is not set"),
        ({**CONSOLE, "ALERT_SMTP_URL": "smtp://mail"}, "set ALERT_FROM and ALERT_TO too"),
        ({**MAIL, "ALERT_SMTP_URL": "http://mail"}, "must begin with smtp://"),
    ],
)
def test_half_a_setting_stops_it(environment: dict[str, str], said: str) -> None:
    """With the way out, and nothing rendered."""
    with pytest.raises(subprocess.CalledProcessError) as stopped:
        render(environment)

    assert said in stopped.value.stderr
    assert "" == stopped.value.stdout


def test_the_container_is_given_what_is_read() -> None:
    """Each variable of render.awk is in docker-compose.yml, and none besides."""
    read = set(re.findall(r'ENVIRON\["(\w+)"\]', (FILES / "alertmanager/render.awk").read_text()))

    assert read == load().environment("alertmanager").keys()


def test_what_is_routed_by_name_exists() -> None:
    """The alerts that hold others back, and those that are held back."""
    text = (FILES / "alertmanager/alertmanager.yml").read_text()
    named = {name for found in re.findall(r'alertname =~? "([\w|]+)"', text) for name in found.split("|")}

    assert len(named) >= 6
    assert set() == named - {rule.get("alert") for rule in rules(load())}
