"""The page and the picture: self-contained, complete, and safe with any text."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from millrace.demo.baseline import frozen
from millrace.demo.chart import NARROW, WIDE, draw
from millrace.demo.checks import check
from millrace.demo.figures import Facts, curves, report
from millrace.demo.page import picture, render
from millrace.demo.report import Report
from millrace.demo.story import tell
from tests.demo.scene import FIRST_ROWS, Scene
from tests.demo.test_measure import measure_of
from tests.onnx_models import classifier

SVG = "{http://www.w3.org/2000/svg}"


async def page_of(folder: Path) -> tuple[str, str, Report]:
    """The page, the picture and the report of a scene."""
    scene = await Scene.play(folder)
    run = await measure_of(scene).read_all()
    found = curves(run.ledger, frozen(classifier(3), run.ledger.columns().features))
    judged = check(report(run, {}, found, Facts(1.0, 1.0, 550, FIRST_ROWS, {})))
    shown = picture(found, run.control, judged)
    return render(shown, judged, "a <b> model"), draw(shown, WIDE), judged


async def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    """No script, no link, no file from elsewhere; the only address in it is the SVG namespace's name."""
    page, _, _ = await page_of(tmp_path)

    assert [] == re.findall(r"<(?:script|link|img|iframe)|@import|url\(", page)
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"' >]+", page))
    assert "a <b> model" not in page


async def test_the_page_tells_every_id_of_every_chain(tmp_path: Path) -> None:
    """What the table shows can be looked up on the topics."""
    page, _, judged = await page_of(tmp_path)
    text = page.replace("<wbr>", "")
    ids = [part for chain in judged.chain for part in (chain.drift_id, chain.run_id, *chain.change_ids) if part]

    assert (7, []) == (len(ids), [one for one in ids if one not in text])


async def test_the_picture_marks_drifts_and_deployments(tmp_path: Path) -> None:
    """It is well-formed SVG with a title for each alarm, warning and deployment."""
    _, svg, _ = await page_of(tmp_path)
    titles = [title.text or "" for title in ET.fromstring(svg).iter(f"{SVG}title")]

    assert 1 == sum("error rose 0.00 → 0.90" in title for title in titles)
    assert {"v1", "v2"} == {title.partition(":")[0] for title in titles if title.startswith("v")}


async def test_a_run_too_short_for_a_curve_still_gives_a_picture(tmp_path: Path) -> None:
    """The scene has fewer rows than the window: axes and marks are drawn, lines are not."""
    scene = await Scene.play(tmp_path)
    run = await measure_of(scene).read_all()
    found = curves(run.ledger, frozen(classifier(3), run.ledger.columns().features))
    shown = picture(found, run.control, report(run, {}, found, Facts(1.0, 1.0, 550, FIRST_ROWS, {})))

    assert [] == list(ET.fromstring(draw(shown, NARROW)).iter(f"{SVG}polyline"))


async def test_the_story_is_told_in_words(tmp_path: Path) -> None:
    """One line for the first model, one for the alarm and what came of it; warnings are left out."""
    run = await measure_of(await Scene.play(tmp_path)).read_all()
    told = tell(run.control, run.ledger.row_at)

    assert "row 100: version 1 serves, trained on 80 rows" == told[0]
    assert told[1].startswith("row 280: error rose 0.00 → 0.90, retrain requested; version 2 serves since row 300, ")
    assert 2 == len(told)
