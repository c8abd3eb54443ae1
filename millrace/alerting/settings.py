"""Where alerts are sent. The one place under ``millrace.alerting`` that sees the environment."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SMTP_SCHEMES = ("smtp", "smtp+starttls", "smtps")


class AlertSettings(BaseSettings):
    """Settings of the routes. A route without an address is off; both may be. An empty variable is none."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_ALERT_", env_ignore_empty=True, frozen=True, extra="ignore")

    webhook_url: HttpUrl | None = Field(None, description="Address that alerts are posted to as JSON.")
    webhook_secret: SecretStr | None = Field(
        None, description="Signs what is posted there (HMAC-SHA256, as Standard Webhooks has it)."
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server, smtp://host:25; smtp+starttls:// and smtps:// encrypt, user:password@ logs in.",
    )
    smtp_from: str | None = Field(None, description="Sender of alerts by e-mail.")
    smtp_to: Annotated[tuple[str, ...], NoDecode] = Field((), description="Receivers, separated by commas.")
    console_url: HttpUrl | None = Field(None, description="Address of the console as readers of alerts reach it.")
    repeat_s: float = Field(
        3600, gt=0, description="An alert of the same service, reason and subject is not sent again for so long."
    )
    acknowledged_s: float = Field(86_400, ge=0, description="For how long an acknowledgement holds repetitions back.")
    timeout_s: float = Field(10, gt=0, description="A receiver that does not answer for so long is tried again later.")
    longest_pause_s: float = Field(300, gt=0, description="Longest pause between two tries of a receiver that fails.")
    prometheus: bool = Field(
        default=False, description="Send on what Prometheus raised too; by default Alertmanager does that itself."
    )

    @field_validator("smtp_to", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A list in one variable: ``ops@example.org, me@example.org``."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _mail_is_complete(self) -> Self:
        if self.smtp_url is None:
            return self
        parts = urlsplit(self.smtp_url.get_secret_value())
        if parts.scheme not in SMTP_SCHEMES or not parts.hostname:
            msg = (
                f"MILLRACE_ALERT_SMTP_URL begins with {parts.scheme or 'no scheme'}:// and names the host "
                f"{parts.hostname}: give one of {', '.join(f'{name}://host:port' for name in SMTP_SCHEMES)}"
            )
            raise ValueError(msg)
        if not self.smtp_from or not self.smtp_to:
            msg = (
                "MILLRACE_ALERT_SMTP_URL is set, so who writes to whom is needed too: set MILLRACE_ALERT_SMTP_FROM and "
                f"MILLRACE_ALERT_SMTP_TO; they are {self.smtp_from!r} and {list(self.smtp_to)}"
            )
            raise ValueError(msg)
        return self
