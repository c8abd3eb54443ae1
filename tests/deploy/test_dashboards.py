"""The dashboards: what is committed is what the generator writes, and each panel tells an operator what it needs."""

import json
import re
from typing import Any

import pytest

from deploy.grafana import kit
from deploy.grafana.board import BOARDS
from deploy.grafana.build import FOLDER, contents
from millrace.telemetry import catalogue
from tests.deploy.deployment import expressions, load, panels

FILES = contents()
SHOWN = {name: json.loads(text) for name, text in FILES.items()}
ALL = [(name, panel) for name, board in SHOWN.items() for panel in panels(board)]
LEAST = {"overview.json": 12, "service.json": 20, "model.json": 25, "data-quality.json": 14}
UNUSED = {  # declared, but no panel and no rule asks for it
    "millrace_spans_total": "traces are looked at where they are collected",
    "millrace_monitor_states_saved_total": "the size of the newest says as much",
    "millrace_newest_labelled_event_timestamp_seconds": "event time, which is old in any replay",
    "millrace_alert_deliveries_total": "the console shows what became of each alert",
}


def test_the_files_are_what_the_generator_writes() -> None:
    """After a change: python -m deploy.grafana.build."""
    assert FILES == {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert LEAST.keys() == FILES.keys()
    assert [] == [name for name, board in SHOWN.items() if len(panels(board)) < LEAST[name]]


@pytest.mark.parametrize("name", SHOWN)
def test_a_dashboard_links_to_the_others_and_to_the_console(name: str) -> None:
    """With the time and the variables that were chosen."""
    board = SHOWN[name]
    links = {link["url"]: link for link in board["links"]}

    assert {f"/d/{uid}" for uid in BOARDS if uid != board["uid"]} | {"${console}"} == links.keys()
    assert all(link.get("keepTime") and link.get("includeVars") for url, link in links.items() if url[0] == "/")
    assert "console" in {variable["name"] for variable in board["templating"]["list"]}


@pytest.mark.parametrize("name", SHOWN)
def test_panels_do_not_overlap(name: str) -> None:
    """Each has a number of its own and a place of its own, inside the width."""
    board = SHOWN[name]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= kit.WIDTH, panel["title"]
        taken |= cells

    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize(("name", "panel"), ALL, ids=lambda one: one if isinstance(one, str) else one["title"])
def test_a_panel_says_what_it_shows(name: str, panel: dict[str, Any]) -> None:
    """A sentence, a unit, and a legend where there are several series."""
    assert re.fullmatch(r"[A-Z].*[.)?]", panel["description"]), "a sentence"
    if panel["type"] in {"stat", "timeseries", "table"}:
        assert panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "timeseries":
        assert all(target["legendFormat"] != "__auto" for target in panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_a_title_names_one_panel_of_a_dashboard() -> None:
    """So that people can speak of it."""
    for name, board in SHOWN.items():
        titles = [panel["title"] for panel in board["panels"]]
        assert len(set(titles)) == len(titles), name


def test_colours_are_told_apart_by_everybody() -> None:
    """Only those of Okabe and Ito, and grey; no colour has Grafana's name of red or green."""
    text = "".join(FILES.values())
    used = set(re.findall(r'[cC]olor": "([^"]+)"', text))

    assert used <= {*kit.PALETTE}, used
    assert len(used) >= 6


def test_variables_are_those_that_queries_use() -> None:
    """None is missing, none is there for nothing."""
    for name, board in SHOWN.items():
        declared = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - {"__rate_interval", "__field", "__all"}
        assert declared == used, name


def test_every_metric_is_looked_at() -> None:
    """By a panel or a rule, or it is listed with the reason why not; so that none is measured for nobody."""
    asked = " ".join(expression for _, expression in expressions(load()))
    unseen = {one.name for one in catalogue.declared() if not re.search(rf"\b{one.family}", asked)}

    assert unseen == UNUSED.keys()
