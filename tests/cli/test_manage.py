"""``millrace promote``, ``rollback``, ``approve`` and their like: the request in the log, and the answer from it."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from millrace.cli.main import BESIDE, cli
from millrace.cli.manage import model_name, request_of, tell
from millrace.cli.prepare import command as prepare
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import ManageModel
from services.registry.api_commands import MEANINGS
from services.registry.commands import VERBS, Log, ask, fault
from tests.conftest import Broker
from tests.registry.runs import ready, registry
from tests.support import EPOCH_MS, World, tiny_project

ANSWERED_S = 20.0


def log_of(world: World) -> Log:
    """A command's connection to the memory bus."""
    return Log(world.transport(), Codec(world.schemas), world.clock)


def request(verb: str, **changes: object) -> ManageModel:
    """What the command line asks."""
    made = request_of(verb, EPOCH_MS, **{"model": "tiny", "reason": "seen drift", "by": "ada", **changes})
    assert isinstance(made, ManageModel)
    return made


def printed(capsys: pytest.CaptureFixture[str], outcome: object, *, as_json: bool = False) -> tuple[int, str, str]:
    """Exit status, and what was printed where."""
    capsys.readouterr()  # what the registry logged
    status = 0
    try:
        tell(outcome, as_json=as_json)  # type: ignore[arg-type]
    except SystemExit as ended:
        status = int(str(ended.code))
    said = capsys.readouterr()
    return status, said.out, said.err


def test_verbs_have_a_command_each_with_help_and_json() -> None:
    """The command line and the API have the same verbs."""
    runner = CliRunner()
    for verb in VERBS:
        words = runner.invoke(cli, [verb, "--help"], catch_exceptions=False).output
        assert all(option in words for option in ("--json", "--reason", "--by", "--expect-epoch", "--wait")), verb
        assert f"{verb} [OPTIONS] MODEL" in words, verb

    assert VERBS.keys() == MEANINGS.keys()
    assert BESIDE.keys() <= {*VERBS}


@pytest.mark.parametrize(
    ("verb", "changes", "expected"),
    [
        ("promote", {"version": 3, "immediate": True, "space": "test"}, ("PROMOTE", 3, "test", True, None)),
        ("rollback", {}, ("ROLLBACK", None, None, False, None)),
        ("rollback", {"version": 1, "expect_epoch": 7}, ("ROLLBACK", 1, None, False, 7)),
        ("kill", {}, ("KILL", None, None, False, None)),
    ],
)
def test_the_words_become_a_request(verb: str, changes: dict[str, object], expected: tuple[object, ...]) -> None:
    """Nothing is lost between the command line and the log; the same words at the same time are the same request."""
    made = request(verb, **changes)

    assert expected == (made.action, made.version, made.space, made.immediate, made.expected_epoch)
    assert made == request(verb, **changes)
    assert ("tiny", "ada", "seen drift", f"request/tiny/{verb}/ada/{EPOCH_MS}") == (
        made.model,
        made.requested_by,
        made.reason,
        made.request_id,
    )


@pytest.mark.parametrize("verb", ["promote", "freeze", "retrain"])
def test_a_reason_says_something(verb: str, tmp_path: Path) -> None:
    """Blanks are refused before anything is asked for: the reason stands in the log for ever."""
    words = {"promote": ["tiny", "1"], "freeze": ["tiny"], "retrain": [str(tiny_project(tmp_path).folder)]}[verb]
    result = CliRunner().invoke(cli, [verb, *words, "--reason", "  ", "--data", str(tmp_path)])

    assert result.exit_code == 2
    assert "say in a few words why" in result.output


def test_a_model_is_named_or_its_projects_folder_is(tmp_path: Path) -> None:
    """As with the other commands, whoever stands in the folder need not know the name."""
    tiny_project(tmp_path / "project", model="huge")

    assert ("huge", "tiny") == (model_name(str(tmp_path / "project")), model_name("tiny"))


@pytest.mark.parametrize(
    ("verb", "version", "words"),
    [("promote", None, "name it"), ("kill", 1, "leave the version out"), ("rollback", None, None), ("retire", 2, None)],
)
def test_which_verbs_are_about_a_version(verb: str, version: int | None, words: str | None) -> None:
    """The same rule for the API and the command line."""
    said = fault(verb, version)

    assert said is None if words is None else words in str(said)


async def test_a_registry_at_work_answers_and_the_answer_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accepted is status 0, refused 1, both with the registry's words; JSON holds request and audit record."""
    world = await World.create(tiny_project(tmp_path / "project"))
    async with registry(world, tmp_path) as service:
        await ready(service)
        done = await ask(log_of(world), request("freeze"), timeout_s=ANSWERED_S)
        refused = await ask(log_of(world), request("rollback"), timeout_s=ANSWERED_S)

    assert (0, "tiny is frozen: nothing but rolling back happens by itself (seen drift)\n", "") == printed(capsys, done)
    assert (1, "", "refused: nothing of tiny is deployed yet\n") == printed(capsys, refused)
    status, out, _ = printed(capsys, refused, as_json=True)
    assert (1, "REFUSED", "ROLLBACK", "audit/" + refused.request.request_id) == (
        status,
        json.loads(out)["outcome"],
        json.loads(out)["request"]["action"],
        json.loads(out)["audit"]["audit_id"],
    )


async def test_who_has_seen_another_epoch_is_refused(tmp_path: Path) -> None:
    """--expect-epoch."""
    world = await World.create(tiny_project(tmp_path / "project"))
    async with registry(world, tmp_path) as service:
        await ready(service)
        outcome = await ask(log_of(world), request("freeze", expect_epoch=9), timeout_s=ANSWERED_S)

    assert not outcome.accepted
    assert outcome.audit is not None
    assert outcome.audit.reason.startswith("epoch 0 is in force, 9 was expected")


async def test_without_a_registry_the_request_waits_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and where to look; a registry that comes later answers it."""
    world = await World.create(tiny_project(tmp_path / "project"))
    outcome = await ask(log_of(world), request("freeze"), timeout_s=0.05)
    async with registry(world, tmp_path) as service:
        await ready(service)
        (audit,) = await world.until(topics.AUDIT_EVENTS, 1)
    status, out, err = printed(capsys, outcome)

    assert (2, "") == (status, out)
    assert "stands in the log" in err
    assert "millrace history tiny" in err
    assert outcome.request.request_id == audit["caused_by"]


async def test_records_that_are_no_events_do_not_stop_the_search(tmp_path: Path) -> None:
    """Poison on the shared audit topic is for those whose topic it is."""
    world = await World.create(tiny_project(tmp_path / "project"))
    async with registry(world, tmp_path) as service:
        await ready(service)
        asking = asyncio.create_task(ask(log_of(world), request("freeze"), timeout_s=ANSWERED_S))
        await world.send(topics.AUDIT_EVENTS, ("ada", b"not avro"))
        outcome = await asking

    assert outcome.accepted


@pytest.mark.broker
def test_the_commands_ask_and_read_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """Without a registry: status 2 in time, the request in the log, and the history tells that nobody answered."""
    tiny_project(tmp_path, stream="managed", model="managed")
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()
    runner.invoke(prepare, [str(tmp_path), *at], catch_exceptions=False)

    words = ["promote", "managed", "3", "--reason", "better", "--by", "ada", "--wait", "0.1"]
    asked = runner.invoke(cli, [*words, *at, "--json"], catch_exceptions=False)
    told = runner.invoke(cli, ["history", str(tmp_path), *at], catch_exceptions=False)

    assert (2, "UNANSWERED") == (asked.exit_code, json.loads(asked.output)["outcome"])
    assert (0, True) == (told.exit_code, "promote not answered  version 3  ada  better" in told.output), told.output
