"""A dashboard from its rows: places the panels, and adds what all dashboards have."""

from deploy.grafana.kit import SOURCE, WIDTH, Json

BOARDS = {
    "millrace-overview": "Millrace overview",
    "millrace-service": "Millrace service",
    "millrace-model": "Millrace model",
    "millrace-data": "Millrace data quality",
}
"""Every dashboard's uid and title, in the order in which they link to one another."""


def variable(name: str, asked: str, text: str, *, many: bool = False) -> Json:
    """A variable whose values Prometheus knows."""
    return {
        "name": name,
        "label": name,
        "description": text,
        "type": "query",
        "datasource": SOURCE,
        "definition": asked,
        "query": {"query": asked, "refId": "variable"},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": many,
        "includeAll": many,
        "allValue": ".*" if many else None,
        "current": {"text": ["All"], "value": ["$__all"]} if many else {},
    }


def console() -> Json:
    """Where the console is: the reader may change it, links follow."""
    address = "http://127.0.0.1:8000"
    return {
        "name": "console",
        "label": "console",
        "description": "Address of the Millrace console, for the links.",
        "type": "textbox",
        "query": address,
        "current": {"text": address, "value": address},
        "options": [{"text": address, "value": address, "selected": True}],
    }


def board(uid: str, text: str, rows: list[list[Json]], variables: tuple[Json, ...] = ()) -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": uid,
        "title": BOARDS[uid],
        "description": text,
        "tags": ["millrace"],
        "timezone": "browser",
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one crosshair over all panels
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [*variables, console()]},
        "annotations": {"list": [_deployments(), _drifts()]},
        "links": _links(uid),
        "panels": _placed([panel for one in rows for panel in one]),
    }


def _placed(panels: list[Json]) -> list[Json]:
    """From left to right, a new line where the width is used up; ids in that order."""
    x = y = height = 0
    placed = []
    for number, panel in enumerate(panels, start=1):
        size = panel["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        placed.append({"id": number, **panel, "gridPos": {**size, "x": x, "y": y}})
        x, height = x + size["w"], max(height, size["h"])
    return placed


def _links(uid: str) -> list[Json]:
    """To the other dashboards, with the same time and variables, and to the console."""
    others = [
        {
            "type": "link",
            "title": title.removeprefix("Millrace ").capitalize(),
            "url": f"/d/{other}",
            "icon": "dashboard",
            "keepTime": True,
            "includeVars": True,
            "targetBlank": False,
        }
        for other, title in BOARDS.items()
        if other != uid
    ]
    return [
        *others,
        {"type": "link", "title": "Console", "url": "${console}", "icon": "external link", "targetBlank": True},
    ]


def _annotation(name: str, expr: str, title: str, colour: str) -> Json:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": expr,
        "titleFormat": title,
        "step": "10s",
    }


def _deployments() -> Json:
    expr = "changes(millrace_champion_version[1m]) > 0"
    return _annotation("A new champion", expr, "{{model}} has a new champion", "#0072B2")


def _drifts() -> Json:
    expr = 'sum by (model) (increase(millrace_drifts_total{severity="ALARM"}[1m])) > 0'
    return _annotation("Drift", expr, "{{model}}: drift", "#D55E00")
