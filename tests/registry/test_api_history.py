"""The registry's history, pages, card and rollouts over HTTP, with the epoch as ETag."""

import pytest

from tests.registry.lives import Lived, append_all, client, following, whole_life
from tests.support import World, tiny_project


@pytest.fixture
async def asked(tmp_path):
    """A whole life in the log, and a client of a registry that follows it."""
    world, lived = await World.create(tiny_project(tmp_path / "project")), whole_life()
    await append_all(world, lived.log)
    async with (
        following(world, f"sqlite:///{tmp_path / 'registry.db'}") as (projection, follower),
        client(world, projection, follower) as http,
    ):
        yield http, lived


async def get(http, path, expected=200, **headers):
    """The answer, of that status."""
    response = await http.get(path, headers=headers)
    assert expected == response.status_code, response.text
    return response


async def pages(http, path, key):
    """All pages of a list, two by two: the rows in their order, and how many pages."""
    found, cursor, count = [], "", 0
    while cursor is not None:
        page = (await get(http, f"{path}?limit=2{cursor and f'&cursor={cursor}'}")).json()
        found += [row for name in key for row in page[name]]
        cursor, count = page["next"], count + 1
    return found, count


async def test_the_history_tells_what_served_at_a_time_in_either_spelling(asked):
    """ISO 8601 or milliseconds; the past has no events of its own."""
    http, lived = asked
    at_ms = lived.at["canary"]
    by_number = (await get(http, f"/v1/models/tiny/history?at={at_ms}")).json()
    by_words = (await get(http, "/v1/models/tiny/history?at=2020-09-13T12:34:10Z")).json()

    assert 2 == by_number["served"]["epoch"] == by_words["served"]["epoch"]
    assert [0.9, 0.1] == [pytest.approx(part["share"]) for part in by_number["served"]["traffic"]]
    assert [] == by_number["events"]


async def test_the_whole_history_comes_without_a_time(asked):
    """What serves now, and every event."""
    http, _ = asked
    found = (await get(http, "/v1/models/tiny/history")).json()

    assert 6 == found["served"]["epoch"]
    assert "retire refused" == found["events"][-1]["what"]
    assert "drift/tiny/1" == found["served"]["chain"][-1]["id"]


async def test_a_time_that_is_none_is_named(asked):
    """The answer says what is accepted."""
    http, _ = asked
    answer = await get(http, "/v1/models/tiny/history?at=yesterday", 400)

    assert answer.json()["detail"].startswith("'yesterday' is no time: give ISO 8601")


@pytest.mark.parametrize(
    ("path", "keys", "count", "number"),
    [
        ("versions", ("versions", "rejected"), 5, 3),
        ("deployments", ("deployments",), 6, 3),
        ("audit", ("audits",), 11, 6),
    ],
)
async def test_lists_come_in_pages_without_gap_or_repetition(asked, path, keys, count, number):
    """Two by two is the same as all at once, newest first."""
    http, _ = asked
    whole = (await get(http, f"/v1/models/tiny/{path}")).json()
    found, pages_seen = await pages(http, f"/v1/models/tiny/{path}", keys)

    assert (count, number, None) == (len(found), pages_seen, whole["next"])
    assert sorted(map(str, (row for key in keys for row in whole[key]))) == sorted(map(str, found))


@pytest.mark.parametrize("cursor", ["nonsense", "ZGVwbG95bWVudHM6Mw", "YXVkaXQ6eA", "%00"])
async def test_a_cursor_of_nobody_or_of_another_list_is_refused(asked, cursor):
    """It never begins somewhere by chance."""
    http, _ = asked

    assert (
        "is no cursor of this list" in (await get(http, f"/v1/models/tiny/audit?cursor={cursor}", 400)).json()["detail"]
    )


async def test_what_is_asked_about_a_model_carries_its_epoch(asked):
    """A strong ETag, the same on every path; not to be cached, as it names no bytes."""
    http, _ = asked
    paths = ("", "/champion", "/versions", "/versions/1", "/versions/1/card", "/deployments", "/audit", "/rollouts",
             "/history")  # fmt: skip
    answers = [await get(http, f"/v1/models/tiny{path}") for path in paths]

    assert {('"6"', "no-store")} == {(one.headers["ETag"], one.headers["Cache-Control"]) for one in answers}


async def test_a_version_tells_its_run_and_where_it_served(asked):
    """Checks, parameters, baselines; each deployment that gave it traffic."""
    http, _ = asked
    found = (await get(http, "/v1/models/tiny/versions/2")).json()

    assert ("logistic", {"C": "1.0"}, {"majority": 0.5}, 4500) == tuple(
        found[key] for key in ("family", "params", "baselines", "train_rows")
    )
    assert [(2, "candidate"), (3, "candidate"), (4, "champion"), (5, "champion"), (6, "champion")] == [
        (one["epoch"], one["variant"]) for one in found["served"]
    ]
    assert ["onnx-parity"] == [check["name"] for check in found["checks"]]
    assert (["ada"], "production") == (found["approved_by"], found["space"])


async def test_a_version_that_is_not_there_is_named(asked):
    """With those that are."""
    http, _ = asked

    assert (
        "model 'tiny' has no version 9; it has [1, 2, 3, 4]"
        == ((await get(http, "/v1/models/tiny/versions/9", 404)).json()["detail"])
    )


async def test_a_card_is_json_for_programs_and_markdown_for_people(asked):
    """The same facts; ranges, champion and baseline beside it, approvals, limits."""
    http, _ = asked
    card = (await get(http, "/v1/models/tiny/versions/1/card")).json()
    page = await get(http, "/v1/models/tiny/versions/2/card", accept="text/markdown")

    assert [("tiny-samples", 0, 900)] == [
        (one["topic"], one["from_offset"], one["until_offset"]) for one in card["ranges"]
    ]
    assert (["ada"], ["ada"]) == ([one["by"] for one in card["approvals"]], card["approved_by"])
    assert "It is not signed." in card["limits"]
    assert page.headers["content-type"].startswith("text/markdown")
    for words in (
        "# tiny, version 2", "| accuracy | 0.9 | 0.8 |", "| majority | 0.5 |", "## Known limits",
        "Its accuracy is 0.900 on 500 rows: by sampling alone it may be off by 0.027.", "| parameter C | 1.0 |",
        "| onnx-parity | yes | 0 | 0.001 |", "| 2 | candidate | 10 % |",
    ):  # fmt: skip
        assert words in page.text, page.text


async def test_rollouts_tell_that_none_is_under_way_and_the_freeze(asked):
    """After the rollback."""
    http, _ = asked
    found = (await get(http, "/v1/models/tiny/rollouts")).json()

    assert ([], 6, "ada") == (found["rollouts"], found["epoch"], found["frozen"]["by"])


async def test_an_odd_number_in_evidence_is_null(tmp_path):
    """A loss that is no number must not make the answer unreadable."""
    world, lived = await World.create(tiny_project(tmp_path / "project")), Lived()
    for event in whole_life().log:
        lived._write(event)
        if getattr(event, "kind", None) == "ROLLOUT_STARTED":
            break
    lived.measures(rows=10)
    odd = lived.log[-1].arms[0].model_copy(update={"loss_sum": float("nan")})
    log = [*lived.log[:-1], lived.log[-1].model_copy(update={"arms": (odd,)})]
    await append_all(world, log)
    async with (
        following(world, f"sqlite:///{tmp_path / 'registry.db'}") as (projection, follower),
        client(world, projection, follower) as http,
    ):
        (found,) = (await get(http, "/v1/models/tiny/rollouts")).json()["rollouts"]

    assert [None] == [arm["loss"] for arm in found["arms"]]


async def test_every_path_is_described_with_its_problems(asked):
    """OpenAPI names model, description and problems of each operation."""
    http, _ = asked
    paths = (await get(http, "/openapi.json")).json()["paths"]
    operations = [
        (path, verb, one) for path, item in paths.items() if path.startswith("/v1/") for verb, one in item.items()
    ]

    assert (20, 9) == (len(operations), sum(verb == "post" for _, verb, _ in operations))
    for path, verb, one in operations:
        statuses = set(one["responses"])
        needed = {"200", "202", "400", "404", "409", "412", "422", "503"} if verb == "post" else {"200"}
        needed |= set() if path.endswith("/events") else {"404", "503"}
        assert needed <= statuses, (path, statuses)
        assert one["description"], path
