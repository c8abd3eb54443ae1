"""Each route brings an alert to a real server, or says why not."""

import json
import ssl
import subprocess
from dataclasses import replace

import pytest

from millrace.alerting.ledger import Notification
from millrace.alerting.mail import Mail, message_of
from millrace.alerting.route import RefusedError, UnreachableError
from millrace.alerting.webhook import Webhook, signature
from millrace.bus.clock import LoopClock
from tests.alerting.alerts import AT_MS, raised
from tests.alerting.receivers import free_port, mail_server, web_server

ONE = Notification(raised(1))
ME = ("me@example.org",)


async def test_a_webhook_gets_the_alert_as_json():
    """All its fields, the key twice, and the time."""
    with web_server() as web:
        clock = LoopClock(AT_MS)
        await Webhook(web.url, clock=clock, console_url="http://c/").deliver(replace(ONE, held_back=3, since_ms=AT_MS))
    (posted,) = web.taken
    body = json.loads(posted.body)

    assert ONE.alert.model_dump() == body["alert"]
    assert (3, AT_MS, "http://c/", "alert/1") == tuple(
        body[name] for name in ("held_back", "held_back_since_ms", "console_url", "id")
    )
    assert ["alert/1", "alert/1"] == [posted.headers[name] for name in ("idempotency-key", "webhook-id")]
    assert "webhook-signature" not in posted.headers


async def test_a_webhook_is_signed():
    """The receiver computes the same under the secret it shares, and another under another."""
    with web_server() as web:
        await Webhook(web.url, clock=LoopClock(AT_MS), secret="word").deliver(ONE)
    headers, body = web.taken[0].headers, web.taken[0].body
    named = (headers["webhook-id"], headers["webhook-timestamp"], body)

    assert signature("word", *named) == headers["webhook-signature"]
    assert signature("other", *named) != headers["webhook-signature"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, RefusedError), (413, RefusedError), (422, RefusedError)]
    + [(status, UnreachableError) for status in (302, 401, 404, 408, 429, 500, 503)],
)
async def test_a_webhook_that_says_no_is_told_apart_from_one_that_fails(status, error):
    """What may be mended is tried again; what is wrong with this alert is not. A redirect is not followed."""
    with web_server(status) as web, pytest.raises(error, match=str(status)):
        await Webhook(web.url, clock=LoopClock(AT_MS)).deliver(ONE)
    assert 1 == len(web.posted)


async def test_a_webhook_that_is_not_there_is_unreachable():
    """Nobody listens."""
    with pytest.raises(UnreachableError, match="refused"):
        await Webhook(f"http://127.0.0.1:{free_port()}/", clock=LoopClock(AT_MS)).deliver(ONE)


async def test_a_mail_says_what_was_seen_and_the_way_out():
    """The message first, the facts below, and the same Message-ID each time."""
    with mail_server() as post:
        route = Mail(f"smtp://127.0.0.1:{post.port}", "millrace@example.org", ME, console_url="http://c/")
        await route.deliver(replace(ONE, held_back=2))
        await route.deliver(ONE)
    first, second = post.taken
    text = first.get_content()

    assert "[Millrace WARNING] drift: tiny version 1" == first["Subject"]
    assert text.startswith("accuracy fell from 0.9 to 0.7; a retrain is requested")
    assert all(part in text for part in ("2 more of the same", "console: http://c/", "alert: alert/1", "model: tiny"))
    assert first["Message-ID"] == second["Message-ID"]
    assert [list(ME)] * 2 == post.receivers


def test_a_break_in_a_subject_does_not_end_the_headers():
    """Whoever names a topic or a model cannot add headers to the message."""
    message = message_of(Notification(raised(1, subject="x\r\nBcc: all@example.org")), "a@b.c", ME)

    assert "[Millrace WARNING] drift: x Bcc: all@example.org" == message["Subject"]
    assert message["Bcc"] is None


@pytest.mark.parametrize(("answer", "error"), [("451 later", UnreachableError), ("554 never", RefusedError)])
async def test_a_mail_server_that_says_never_is_told_apart_from_one_that_says_later(answer, error):
    """4xx is tried again, 5xx is not."""
    with mail_server(answer) as post, pytest.raises(error, match=answer[:3]):
        await Mail(f"smtp://127.0.0.1:{post.port}", "a@example.org", ME).deliver(ONE)


async def test_a_mail_server_that_is_not_there_is_unreachable():
    """Nobody listens."""
    with pytest.raises(UnreachableError, match="refused"):
        await Mail(f"smtp://127.0.0.1:{free_port()}", "a@example.org", ME).deliver(ONE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 as the server and the client need it."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


async def test_a_mail_is_encrypted_and_logs_in(certificate):
    """STARTTLS with a user whose password has letters that an URL must escape."""
    server, trusted = certificate
    with mail_server(tls_context=server, require_starttls=True, auth_required=True) as post:
        post_url = f"smtp+starttls://ops:p%40ss%2Fword@127.0.0.1:{post.port}"
        await Mail(post_url, "a@example.org", ME, trusted=trusted).deliver(ONE)
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await Mail(post_url, "a@example.org", ME).deliver(ONE)

    assert (1, ["ops"]) == (len(post.taken), post.users)
