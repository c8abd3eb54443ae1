"""What panels are made of: the few kinds that the dashboards use, in one look.

Colours are those of Okabe and Ito (2008), which people with any kind of colour blindness tell apart. Where series have
no fixed names, they are shades of one colour and the legend has their values. Good, watch and bad are blue, orange and
vermilion, never green and red.
"""

from typing import Any

Json = dict[str, Any]

BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
GREEN, SKY, PURPLE, YELLOW, GREY = "#009E73", "#56B4E9", "#CC79A7", "#F0E442", "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, GREY)
SERVICES = ("ingest", "serving", "monitor", "trainer", "registry", "console")
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH = 24

GOOD_BELOW = "below"
GOOD_ABOVE = "above"


def thresholds(*steps: float, good: str = GOOD_BELOW) -> Json:
    """From good to bad at these values: two steps go over orange, one goes to vermilion at once."""
    colours = [BLUE, *([ORANGE] if len(steps) > 1 else []), VERMILION]
    if good == GOOD_ABOVE:
        colours.reverse()
    values: list[float | None] = [None, *steps]
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=True)],
    }


def query(expr: str, legend: str = "", *, instant: bool = False, form: str = "time_series") -> Json:
    """One query; ``refId`` is set by the panel. Of a histogram over time exemplars are shown, with their traces."""
    asked = {"datasource": SOURCE, "expr": expr, "legendFormat": legend or "__auto", "format": form}
    if instant:
        return {**asked, "instant": True, "range": False}
    return {**asked, "range": True, "exemplar": "_bucket" in expr and form == "time_series"}


def _panel(kind: str, title: str, text: str, width: int, height: int, queries: tuple[Json, ...]) -> Json:
    return {
        "title": title,
        "description": text,
        "type": kind,
        "datasource": SOURCE,
        "gridPos": {"x": 0, "y": 0, "w": width, "h": height},
        "targets": [{**one, "refId": chr(ord("A") + number)} for number, one in enumerate(queries)],
    }


def stat(
    title: str, text: str, expr: str, *, unit: str = "short", steps: Json | None = None, width: int = 4,
    legend: str = "", decimals: int | None = None, none: str = "none",
) -> Json:  # fmt: skip
    """One number now, in the colour of its threshold. ``none`` is shown where there is no series."""
    defaults: Json = {
        "unit": unit,
        "noValue": none,
        "thresholds": steps or {"mode": "absolute", "steps": [{"color": BLUE, "value": None}]},
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return {
        **_panel("stat", title, text, width, 4, (query(expr, legend, instant=True),)),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if steps else "value",
            "graphMode": "none",
            "textMode": "value_and_name" if legend else "value",
        },
    }


def series(
    title: str, text: str, *queries: Json, unit: str = "short", steps: Json | None = None, width: int = 8,
    stacked: bool = False, low: float | None = 0, high: float | None = None, links: tuple[Json, ...] = (),
) -> Json:  # fmt: skip
    """Lines over time. With several queries each has its colour; services and versions keep theirs everywhere."""
    custom: Json = {
        "lineWidth": 2,
        "fillOpacity": 25 if stacked else 0,
        "showPoints": "never",
        "spanNulls": 60_000,
        "stacking": {"mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    defaults: Json = {
        "unit": unit,
        "custom": custom,
        "color": {"mode": "shades", "fixedColor": BLUE},
        "links": list(links),
    }
    if steps:
        defaults["thresholds"] = steps
    for name, bound in (("min", low), ("max", high)):
        if bound is not None:
            defaults[name] = bound
    return {
        **_panel("timeseries", title, text, width, 8, queries),
        "fieldConfig": {"defaults": defaults, "overrides": [*_by_query(queries), *_by_name()]},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def heatmap(title: str, text: str, expr: str, *, unit: str, width: int = 8) -> Json:
    """How a histogram is spread over time."""
    return {
        **_panel("heatmap", title, text, width, 8, (query(expr, "{{le}}", form="heatmap"),)),
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 32, "reverse": False},
            "yAxis": {"unit": unit},
            "cellGap": 1,
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": True},
        },
    }


def states(
    title: str, text: str, expr: str, legend: str, names: dict[str, tuple[str, str]], *, width: int = 12
) -> Json:
    """What held when: ``names`` has a word and a colour for each value."""
    mapping = {
        value: {"text": text_of, "color": colour, "index": at}
        for at, (value, (text_of, colour)) in enumerate(names.items())
    }
    return {
        **_panel("state-timeline", title, text, width, 8, (query(expr, legend),)),
        "fieldConfig": {
            "defaults": {
                "mappings": [{"type": "value", "options": mapping}],
                "custom": {"fillOpacity": 80, "lineWidth": 0},
            },
            "overrides": [],
        },
        "options": {"mergeValues": True, "showValue": "auto", "legend": {"showLegend": False}},
    }


def table(title: str, text: str, expr: str, *, columns: tuple[str, ...], unit: str = "short", width: int = 8) -> Json:
    """One line for each series now, with these labels and the value."""
    hidden = dict.fromkeys(("Time", "__name__", "job"), True)
    order = {name: at for at, name in enumerate((*columns, "Value"))}
    return {
        **_panel("table", title, text, width, 8, (query(expr, instant=True, form="table"),)),
        "fieldConfig": {"defaults": {"unit": unit, "noValue": "none"}, "overrides": []},
        "options": {"showHeader": True, "cellHeight": "sm"},
        "transformations": [{"id": "organize", "options": {"excludeByName": hidden, "indexByName": order}}],
    }


def row(title: str, *panels: Json) -> list[Json]:
    """A heading and its panels."""
    heading = {
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": 0, "w": WIDTH, "h": 1},
        "panels": [],
    }
    return [heading, *panels]


def link(title: str, url: str) -> Json:
    """A link of a panel's data."""
    return {"title": title, "url": url, "targetBlank": True}


def _by_query(queries: tuple[Json, ...]) -> list[Json]:
    """A colour for each query, where there are several."""
    return [_fixed("byFrameRefID", chr(ord("A") + at), PALETTE[at]) for at in range(len(queries)) if len(queries) > 1]


def _by_name() -> list[Json]:
    """Services have a colour each, and versions one by their last digit."""
    services = [_fixed("byRegexp", f"/^{name}\\b/", PALETTE[at]) for at, name in enumerate(SERVICES)]
    versions = [
        _fixed("byRegexp", f"/^version \\d*{digit}(?!\\d)/", PALETTE[digit % len(PALETTE)]) for digit in range(10)
    ]
    return services + versions


def _fixed(matcher: str, options: str, colour: str) -> Json:
    return {
        "matcher": {"id": matcher, "options": options},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }
