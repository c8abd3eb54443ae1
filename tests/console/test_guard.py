"""Who may ask, and what a browser may do with the answer."""

import gzip

import pytest

from millrace.console.guard import names_of
from tests.console.world import console, get, new_world

BODY = {"alert_id": "alert/1", "actor": "ada"}
PATH = "/api/alerts/acknowledge"


@pytest.fixture
async def client(tmp_path):
    """An empty console of this machine."""
    world = await new_world(tmp_path / "project")
    async with console(world, tmp_path, names=names_of("127.0.0.1", ())) as (_, http):
        yield http


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, 404),
        ({}, 404),
    ],
)
async def test_what_another_sites_page_sends_changes_nothing(client, headers, status):
    """Not from another origin, not as a form; from our own pages, and from what is no browser, it is looked at."""
    response = await client.post(PATH, json=BODY, headers=headers)

    assert status == response.status_code, response.text
    assert "application/problem+json" == response.headers["content-type"]


async def test_a_name_that_is_not_ours_is_refused(client):
    """Another site's name pointed at this machine reads nothing; health is open to whoever asks by address."""
    refused = await client.get("/api/overview", headers={"Host": "evil.example"})
    page = await client.get("/", headers={"Host": "evil.example:8080"})
    health = await client.get("/livez", headers={"Host": "evil.example"})

    assert [403, 403, 200] == [refused.status_code, page.status_code, health.status_code]
    assert "MILLRACE_CONSOLE_NAMES" in refused.json()["detail"]
    assert 200 == (await client.get("/api/overview", headers={"Host": "localhost:1"})).status_code


async def test_no_page_may_load_anything_from_elsewhere(client):
    """On pages, answers and refusals alike; no script may stand in a page."""
    for response in (await client.get("/"), await client.get("/api/session"), await client.get("/api/nope")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "http" not in policy
        assert "nosniff" == response.headers["x-content-type-options"]


async def test_with_a_token_every_call_needs_it(tmp_path):
    """As a bearer token; for server-sent events in the address; the session alone says that one is asked for."""
    world = await new_world(tmp_path / "project")
    async with console(world, tmp_path, token="s3cret") as (_, client):
        without = await client.get("/api/overview")
        wrong = await client.get("/api/overview?token=s3cret", headers={"Authorization": "Bearer wrong"})
        given = await client.get("/api/overview", headers={"Authorization": "Bearer s3cret"})
        session = await get(client, "/api/session")
        page = await client.get("/")

    assert [401, 401, 200, 200] == [one.status_code for one in (without, wrong, given, page)]
    assert "Bearer" == without.headers["www-authenticate"]
    assert session["token_required"] is True


async def test_the_chart_library_comes_from_its_package_packed_and_kept(client):
    """No other site is asked; the second time, nothing is sent."""
    response = await client.get("/static/plotly.min.js")
    again = await client.get("/static/plotly.min.js", headers={"If-None-Match": response.headers["etag"]})
    plain = await client.get("/static/plotly.min.js", headers={"Accept-Encoding": "identity"})

    assert ("gzip", 304) == (response.headers["content-encoding"], again.status_code)
    assert len(gzip.compress(plain.content, 6)) < len(plain.content) / 2
    assert plain.content == response.content
    assert plain.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("name", ["../service.py", "..%2Fservice.py", "css/../../service.py", "nope.js", ""])
async def test_only_files_for_the_browser_are_served(client, name):
    """Nothing outside the folder."""
    response = await client.get(f"/static/{name}")

    assert 404 == response.status_code


async def test_the_pages_name_files_that_are_there_and_hold_no_script(client):
    """Each page's own files come with a version in their address and may be kept for ever."""
    text = (await client.get("/")).text
    wanted = [part.split('"')[0] for part in text.split('="')[1:] if part.startswith("/static/")]

    assert len(wanted) > 3
    for path in wanted:
        response = await client.get(path)
        assert (200, True) == (response.status_code, "immutable" in response.headers["cache-control"]), path
    assert "<script>" not in text


async def test_the_api_is_described(client):
    """Each path of the API has a summary."""
    described = (await get(client, "/openapi.json"))["paths"]

    assert {"/api/overview", "/api/models/{model}/timeline", "/api/actions/{verb}"} <= described.keys()
    assert len([path for path in described if path.startswith("/api/")]) > 20


def test_names_are_those_of_this_machine_where_it_listens_here_only():
    """Elsewhere any, unless some are named."""
    assert {"localhost", "127.0.0.1", "::1", "box"} == names_of("127.0.0.1", ("box",))
    assert names_of("0.0.0.0", ()) is None
    assert {"console.example"} == names_of("0.0.0.0", ("console.example",))
