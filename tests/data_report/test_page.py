"""The page: complete, self-contained, safe with any text, readable without pictures, and bounded."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from millrace.contracts.codec import Codec
from millrace.data_report.describe import FIELDS_MAX
from millrace.data_report.make import make_report, write_page
from millrace.data_report.page import render
from millrace.data_report.report import (
    Bars,
    Count,
    FieldReport,
    FieldWindow,
    Finding,
    Flags,
    Judged,
    Letters,
    Pair,
    Report,
    WindowHead,
)
from tests.data_report.made_up import SECRET, stream

HOSTILE = """<script>alert('x')</script>"&</title></style>\u202e${7*7}"""
VOID = {"meta", "rect", "line", "path", "polyline", "br"}
BYTES_MAX = 3_000_000


class Parsed(HTMLParser):
    """The elements of a page, and whether each is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It ends, and must be the last one that began."""
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        """Words."""
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
async def report(tmp_path: Path) -> Report:
    """Of the made-up stream's last snapshot."""
    world = await stream(tmp_path)
    return await make_report(world.project, world.transport(), Codec(world.schemas))


def odd(field_name: str = HOSTILE, **changes: Any) -> Report:
    """A report in which every text is hostile."""
    window = FieldWindow(rows=10, missing=1, shares=(0.5, 0.5))
    field = FieldReport(
        name=field_name, role="field", kind="TEXT", windows={"new": window, "training": window, "previous": window},
        bars=Bars(texts=(HOSTILE, HOSTILE), unseen=(0,)), unseen=(Count(name=HOSTILE, count=3),),
        violations=(Count(name=HOSTILE, count=2),), note=HOSTILE,
    )  # fmt: skip
    judged = Judged(
        check=HOSTILE, subject=HOSTILE, severity="ALARM", from_offset=0, until_offset=5, from_time_ms=0,
        until_time_ms=60_000, rows=5, observed=1, expected=0, message=HOSTILE, vetoes=True, is_new=True,
    )  # fmt: skip
    head = WindowHead(rows=10, sampled=10, from_offset=0, until_offset=10, from_time_ms=0, until_time_ms=90_000)
    places = {"first_place": HOSTILE, "last_place": HOSTILE}
    values: dict[str, Any] = {
        "stream": HOSTILE, "model": HOSTILE, "snapshot_id": HOSTILE, "previous_id": HOSTILE, "partition": 0,
        "feature_set": HOSTILE, "content_sha256": HOSTILE, "rows": 10, "labelled_rows": 10, "from_time_ms": -(10**17),
        "until_time_ms": 10**17, "taken_at_ms": 0, "table_version": None, "lake_uri": HOSTILE, "version": 1,
        "run_id": HOSTILE, "expectations_id": HOSTILE, "windows": {"new": head, "previous": head, "training": head},
        "findings": (Finding(weight="bad", text=HOSTILE, field=HOSTILE),), "fields": (field,),
        "letters": (Letters(reason=HOSTILE, field=HOSTILE, topic=HOSTILE, count=1, message=HOSTILE, **places),),
        "flags": (Flags(reason=HOSTILE, field=HOSTILE, count=1, **places),), "judged": (judged,),
        "pairs": (Pair(first=HOSTILE, second=HOSTILE, learned=1, seen=0, rows=9, broke=True),), "notes": (HOSTILE,),
    }  # fmt: skip
    return Report(**{**values, **changes})


def test_the_page_needs_nothing_but_itself(report: Report) -> None:
    """No script, no link elsewhere, no file, no address; patterns are its own."""
    page = render(report)
    parsed = Parsed(page)

    assert [] == [tag for tag, _ in parsed.elements if tag in {"script", "link", "img", "iframe", "object", "base"}]
    assert [] == re.findall(r"@import|url\((?!#)|https?:|javascript:", page)
    assert all((one["href"] or "").startswith("#") for one in parsed.of("a"))


def test_every_field_and_feature_has_a_card_that_can_be_reached(report: Report) -> None:
    """By the links of the findings and of the table; no id is there twice."""
    parsed = Parsed(render(report))
    ids = [one["id"] for one in parsed.of("article")]
    text = " ".join(parsed.text)

    assert {"f-x", "f-y", "f-day", "f-mail", "f-x_change"} == set(ids)
    assert len(ids) == len(set(ids))
    assert {f"#{one}" for one in ids} == {one["href"] for one in parsed.of("a")}
    assert [] == [word for word in ("out-of-range", "unseen-category", "missing-share", "broke") if word not in text]
    assert SECRET not in text


def test_the_page_is_well_formed_and_every_picture_says_what_it_shows(report: Report) -> None:
    """Elements close in their turn; a picture has a role and a label, or is hidden from who cannot see it."""
    parsed = Parsed(render(report))
    pictures = parsed.of("svg")

    assert ([], []) == (parsed.wrong, parsed.open)
    assert len(pictures) > 15
    assert [] == [one for one in pictures if not (one.get("aria-label") or one.get("aria-hidden"))]
    assert {"en"} == {one["lang"] for one in parsed.of("html")}
    assert all(one.get("scope") for one in parsed.of("th") if one)


def test_the_figures_behind_each_picture_are_in_a_table(report: Report) -> None:
    """A median of x now and in training, and the share of a text, as text."""
    x = next(one for one in report.fields if one.name == "x")
    text = re.sub(r"<[^>]+>", " ", render(report))

    middles = [one.numbers.quantiles[3] for one in x.windows.values() if one.numbers]
    assert 3 == len(middles)
    assert [] == [value for value in middles if f"{value:.4g}" not in text]
    assert "10.0 %" in text


@pytest.mark.parametrize(
    ("text", "name", "before"),
    [
        ("a window: field 'a' is missing", "a", "a window: field &#x27;"),
        ("x moved", "x", ""),
        ("max of x", "x", "max of "),
    ],
)
def test_a_finding_leads_to_its_field_and_no_other_letter(text: str, name: str, before: str) -> None:
    """In quotes, or as a word of its own; a field without a card is no link."""
    found = (Finding(weight="warn", text=text, field=name), Finding(weight="warn", text=text, field="gone"))
    page = render(odd(name, findings=found))

    assert f'<span>{before}<a href="#f-{name}">{name}</a>' in page
    assert 1 == page.count("<span>" + before + "<a ")


def test_hostile_names_and_values_are_only_shown() -> None:
    """Whatever a field, a text, a reason or a topic is called."""
    page = render(odd())
    parsed = Parsed(page)

    assert ([], []) == (parsed.wrong, parsed.open)
    assert [] == parsed.of("script")
    assert "<script>" not in page
    assert HOSTILE.replace("\u202e", "") in "".join(parsed.text).replace("\u202e", "")


def test_a_stream_without_anything_still_has_a_page() -> None:
    """No rows, no fields, no judgements, no times."""
    nothing = WindowHead(rows=0, sampled=0, from_offset=0, until_offset=0, from_time_ms=None, until_time_ms=None)
    empty = FieldReport(name="x", role="field", kind="NUMBER", windows={"new": FieldWindow(rows=0, missing=0)})
    page = render(odd(windows={"new": nothing}, fields=(empty,), judged=(), letters=(), flags=(), pairs=()))

    assert "no value in any of these rows" in page
    assert "None among the previous and the new rows." in page


def test_a_page_with_as_many_fields_as_there_may_be_is_still_a_page(report: Report) -> None:
    """All that a report may hold is below three megabytes."""
    x = next(one for one in report.fields if one.name == "x")
    many = tuple(x.model_copy(update={"name": f"field_{number}"}) for number in range(FIELDS_MAX))
    page = render(report.model_copy(update={"fields": many}))

    assert len(page.encode()) < BYTES_MAX


def test_a_report_is_its_json(report: Report) -> None:
    """What the command prints can be read back, and gives the same page."""
    again = Report.model_validate_json(report.model_dump_json())

    assert render(report) == render(again)


def test_the_page_is_written_whole(report: Report, tmp_path: Path) -> None:
    """Into a folder that is made, over what was there; nothing is left beside it."""
    file = tmp_path / "reports" / "one.html"
    write_page("old", file)
    write_page(render(report), file)

    assert render(report) == file.read_text(encoding="utf-8")
    assert [file] == list(file.parent.iterdir())
