"""Where alerts go is read from the environment, and half a setting is refused with the way out."""

import pytest
from pydantic import ValidationError

from millrace.alerting.run import routes_of
from millrace.alerting.settings import AlertSettings
from millrace.bus.clock import SystemClock


def test_nothing_is_sent_by_default(monkeypatch):
    """Both routes are off."""
    assert [] == routes_of(AlertSettings(), SystemClock())


def test_both_routes_come_from_the_environment(monkeypatch):
    """Receivers are a list in one variable; secrets are not shown."""
    values = {
        "WEBHOOK_URL": "https://example.org/hook",
        "WEBHOOK_SECRET": "word",
        "SMTP_URL": "smtps://ops:secret@mail.example.org",
        "SMTP_FROM": "a@example.org",
        "SMTP_TO": "b@example.org, c@example.org",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"MILLRACE_ALERT_{name}", value)
    settings = AlertSettings()

    assert ["webhook", "email"] == [route.name for route in routes_of(settings, SystemClock())]
    assert ("b@example.org", "c@example.org") == settings.smtp_to
    assert not any(secret in repr(settings) for secret in ("word", "secret@"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"smtp_url": "smtp://m", "smtp_to": "b@example.org"}, "MILLRACE_ALERT_SMTP_FROM"),
        ({"smtp_url": "smtp://m", "smtp_from": "a@example.org"}, "MILLRACE_ALERT_SMTP_TO"),
        (
            {"smtp_url": "http://m", "smtp_from": "a", "smtp_to": "b"},
            r"begins with http://.*smtp\+starttls://host:port",
        ),
        ({"smtp_url": "smtp:", "smtp_from": "a", "smtp_to": "b"}, "names the host None"),
        ({"webhook_url": "ftp://m"}, "URL scheme should be 'http' or 'https'"),
    ],
)
def test_half_a_setting_is_refused(values, said):
    """The message names the value seen and what to set."""
    with pytest.raises(ValidationError, match=said):
        AlertSettings(**values)
