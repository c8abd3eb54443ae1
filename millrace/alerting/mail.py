"""Alerts by e-mail: one message for each, plain text, with a Message-ID made from the alert's id.

A receiver that gets it twice after a crash sees the same Message-ID; mail programs show it once.
"""

import asyncio
import hashlib
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from millrace.alerting.ledger import Notification
from millrace.alerting.route import RefusedError, UnreachableError

PERMANENT = 500  # SMTP: from here on a code says "never", below it "later"
PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
SUBJECT_MAX = 200


class Mail:
    """Sends through one SMTP server.

    Args:
        url: ``smtp://``, ``smtp+starttls://`` or ``smtps://``, with user and password where the server wants them.
        sender: the address that it comes from.
        receivers: the addresses that it goes to.
        console_url: where the reader can look further.
        timeout_s: how long an answer is waited for.
        trusted: who signs the server's certificate; the system's authorities by default.
    """

    name = "email"

    def __init__(
        self,
        url: str,
        sender: str,
        receivers: tuple[str, ...],
        *,
        console_url: str | None = None,
        timeout_s: float = 10,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self._parts = urlsplit(url)
        self._sender = sender
        self._receivers = receivers
        self._console_url = console_url
        self._timeout_s = timeout_s
        self._trusted = trusted

    async def deliver(self, notification: Notification) -> None:
        """Send it."""
        await asyncio.to_thread(self._send, notification)

    def _send(self, notification: Notification) -> None:
        message = message_of(notification, self._sender, self._receivers, self._console_url)
        try:
            with self._connect() as server:
                if self._parts.username is not None:
                    server.login(unquote(self._parts.username), unquote(self._parts.password or ""))
                refused = server.send_message(message, self._sender, list(self._receivers))
        except smtplib.SMTPRecipientsRefused as error:
            raise UnreachableError(f"no receiver was taken: {error.recipients}") from error
        except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as error:
            kind = RefusedError if error.smtp_code >= PERMANENT else UnreachableError
            raise kind(f"{error.smtp_code} {error.smtp_error!r}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from error
        if refused:
            raise RefusedError(f"sent, but not to {sorted(refused)}: {refused}")

    def _connect(self) -> smtplib.SMTP:
        scheme, host = self._parts.scheme, self._parts.hostname or ""
        port = self._parts.port or PORTS[scheme]
        context = self._trusted or ssl.create_default_context()
        if scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=context)
        server = smtplib.SMTP(host, port, timeout=self._timeout_s)
        if scheme == "smtp+starttls":
            try:
                server.starttls(context=context)
            except (smtplib.SMTPException, OSError):
                server.close()
                raise
        return server


def message_of(
    notification: Notification, sender: str, receivers: tuple[str, ...], console_url: str | None = None
) -> EmailMessage:
    """The message: what was seen and the way out first, the facts below."""
    alert = notification.alert
    raised = datetime.fromtimestamp(alert.raised_at_ms / 1000, UTC)
    message = EmailMessage()
    message["Subject"] = _line(f"[Millrace {alert.severity}] {alert.reason}: {alert.subject}")[:SUBJECT_MAX]
    message["From"] = sender
    message["To"] = ", ".join(receivers)
    message["Date"] = format_datetime(raised)
    message["Message-ID"] = f"<{hashlib.sha256(notification.key.encode()).hexdigest()}@millrace>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Millrace-Alert"] = _line(notification.key)
    facts = {
        "severity": alert.severity,
        "service": alert.service,
        "reason": alert.reason,
        "subject": alert.subject,
        "model": alert.model,
        "raised": raised.isoformat(timespec="milliseconds"),
        "caused by": alert.caused_by,
        "alert": alert.alert_id,
        "console": console_url,
    }
    lines = [alert.message, ""]
    if notification.held_back:
        lines += [f"{notification.held_back} more of the same were held back since the last message.", ""]
    message.set_content("\n".join([*lines, *(f"{name}: {value}" for name, value in facts.items() if value)]) + "\n")
    return message


def _line(text: str) -> str:
    """One line: a header with a break in it would end the headers."""
    return " ".join(text.split())
