"""Alerts by webhook: one POST of JSON for each, signed as Standard Webhooks (standardwebhooks.com) has it.

    webhook-id: alert/drift/7                    the alert's id; also sent as Idempotency-Key
    webhook-timestamp: 1790000000                seconds
    webhook-signature: v1,<base64 HMAC-SHA256 of "id.timestamp.body" under the secret>

The receiver answers 2xx once it has it. 400, 413 and 422 refuse this one for good; whatever else is tried again, also
what looks like a wrong address or password: that is mended sooner or later, and nothing is lost until then.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException
from typing import IO

from millrace.alerting.ledger import Notification
from millrace.alerting.route import RefusedError, UnreachableError
from millrace.bus.clock import Clock

REFUSED = frozenset({400, 413, 422})
SHOWN_BYTES = 200  # of an answer, in the log


class Webhook:
    """Posts to one address.

    Args:
        url: http or https, as the settings have checked.
        secret: signs the body; None sends it without a signature.
        console_url: where the reader can look further.
        timeout_s: how long an answer is waited for.
        clock: for the time in the signature.
    """

    name = "webhook"

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        secret: str | None = None,
        console_url: str | None = None,
        timeout_s: float = 10,
    ) -> None:
        self._url = url
        self._secret = secret
        self._console_url = console_url
        self._timeout_s = timeout_s
        self._clock = clock
        # No proxy from the environment, and no redirect: an alert goes where the settings say, or it is told.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())

    async def deliver(self, notification: Notification) -> None:
        """Post it."""
        await asyncio.to_thread(self._post, notification, self._clock.now_ms() // 1000)

    def _post(self, notification: Notification, now_s: int) -> None:
        body = body_of(notification, self._console_url)
        headers = self._headers(notification.key, str(now_s), body)
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310  # the settings checked it
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(SHOWN_BYTES)
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.reason}: {_shown(error)}"
            raise (RefusedError if error.code in REFUSED else UnreachableError)(said) from error
        except (OSError, HTTPException) as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from error

    def _headers(self, key: str, seconds: str, body: bytes) -> dict[str, str]:
        named = key.encode("ascii", "backslashreplace").decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "millrace-alerting",
            "Idempotency-Key": named,
            "webhook-id": named,
            "webhook-timestamp": seconds,
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, named, seconds, body)
        return headers


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a 3xx becomes an error like any other answer."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Nowhere."""


def signature(secret: str, key: str, seconds: str, body: bytes) -> str:
    """What the receiver computes as well, and compares.

    >>> signature("whsec", "alert/1", "1790000000", b"{}")
    'v1,IqmybyNQX4gIvW+UMbxr1jUxHns+SoNQnwz9FYqRrDA='
    """
    signed = hmac.new(secret.encode(), f"{key}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def body_of(notification: Notification, console_url: str | None = None) -> bytes:
    """The JSON that is posted: the alert's own fields, and how many like it were held back."""
    content = {
        "type": "millrace.alert",
        "version": 1,
        "id": notification.key,
        "alert": notification.alert.model_dump(),
        "held_back": notification.held_back,
        "held_back_since_ms": notification.since_ms,
        "console_url": console_url,
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _shown(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(SHOWN_BYTES).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return "its body could not be read"
