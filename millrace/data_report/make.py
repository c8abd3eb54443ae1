"""Makes the report of a snapshot: what the command line prints, and what a console can show.

report = await make_report(project, transport, codec, lake, "newest")
page = render(report)                       # one file of HTML
write_page(page, report_file(data, report))  # <data>/reports/<stream>-<snapshot>.html
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from millrace.bus.transport import Transport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.data_report.describe import describe, flags_of, judged_of, pairs_of
from millrace.data_report.facts import NEWEST, Facts, range_of, read_facts
from millrace.data_report.findings import findings_of
from millrace.data_report.gather import Gathered, fields_of
from millrace.data_report.letters import Counted, read_letters
from millrace.data_report.report import Report, WindowHead, WindowName
from millrace.data_report.sample import ROWS_MAX
from millrace.data_report.source import Origin, RowSource
from millrace.stores.lake import Lake


async def make_report(
    project: Project,
    transport: Transport,
    codec: Codec,
    lake: Lake | None = None,
    wanted: str = NEWEST,
    *,
    origin: Origin = "auto",
    sample_rows: int = ROWS_MAX,
) -> Report:
    """The report of a snapshot.

    Args:
        project: the model project; its stream and model are reported on.
        transport: where the topics are read.
        codec: reads events.
        lake: the stream's table; without it everything is read from the samples log.
        wanted: a snapshot's id, its end (``0/5000``), or ``newest``.
        origin: where rows are read first, see ``source.py``.
        sample_rows: rows of each window of which numbers are kept, see ``sample.py``.

    Raises:
        ReportError: there is no such snapshot.
        LakeError: the lake has rows and does not give them.
    """
    facts = await read_facts(project, transport, codec, wanted)
    source = RowSource(project, transport, codec, lake, origin)
    windows = await _gather(project, facts, source, sample_rows)
    letters, notes = await _letters(project, transport, facts, windows)
    names = _feature_names(facts)
    flags = flags_of(windows["new"], fields_of(project), range_of(facts.snapshot).topic, facts.partition)
    kinds = letters.summary()
    fields = describe(project, names, windows, facts.learned, kinds, flags)
    judged = judged_of(facts, windows)
    pairs = pairs_of(facts.learned, windows["new"])
    snapshot = facts.snapshot
    read = f"rows read: {source.from_lake:,} from the lake, {source.from_log:,} from the log"
    return Report(
        stream=snapshot.stream,
        model=project.model,
        snapshot_id=snapshot.snapshot_id,
        previous_id=facts.previous.snapshot_id if facts.previous else None,
        partition=facts.partition,
        feature_set=snapshot.feature_set,
        content_sha256=snapshot.content_sha256,
        rows=snapshot.rows,
        labelled_rows=snapshot.labelled_rows,
        from_time_ms=snapshot.from_time_ms,
        until_time_ms=snapshot.until_time_ms,
        taken_at_ms=snapshot.taken_at_ms,
        table_version=snapshot.table_version,
        lake_uri=None if lake is None else lake.uri,
        version=facts.version,
        run_id=facts.run.run_id if facts.run else None,
        expectations_id=facts.learned.expectations_id if facts.learned else None,
        windows=_heads(facts, windows),
        findings=findings_of(fields, kinds, flags, judged, pairs, windows["new"].rows),
        fields=fields,
        letters=kinds,
        letters_left_out=letters.left_out,
        flags=flags,
        judged=judged,
        pairs=pairs,
        notes=(*facts.notes, *source.notes, *notes, *_differences(facts, windows), read),
    )


def report_file(data: Path, report: Report) -> Path:
    """Where reports are kept: ``<data>/reports/<stream>-<snapshot>.html``."""
    return data / "reports" / report.file_name


def write_page(page: str, file: Path) -> None:
    """Replace the file, whole; its folder is made where it is missing. Raises ``OSError``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")  # readable as the umask says: reports are shared
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(file)


# ---- rows ----------------------------------------------------------------------------------------------------------


async def _gather(project: Project, facts: Facts, source: RowSource, most: int) -> dict[WindowName, Gathered]:
    fields, names, feature_set = fields_of(project), _feature_names(facts), facts.snapshot.feature_set
    found: dict[WindowName, Gathered] = {}
    windows: list[tuple[WindowName, OffsetRange | None]] = [("previous", facts.earlier), ("new", facts.new)]
    for name, part in windows:
        if part is None:
            continue
        found[name] = Gathered(_span([part]), fields, names, feature_set, most=most)
        async for table in source.tables(part):
            found[name].add(table, part.partition)
    run = facts.run
    if run is not None:
        known = names if run.feature_set == feature_set else ()
        gathered = Gathered(_span(run.ranges), fields, known, run.feature_set, trained=True, most=most)
        for part in run.ranges:
            left_out = [(one.from_offset, one.until_offset) for one in run.excluded if one.partition == part.partition]
            async for table in source.tables(part):
                gathered.add(table, part.partition, left_out)
        if gathered.rows:
            found["training"] = gathered
    return found


def _span(parts: Sequence[OffsetRange]) -> int:
    return sum(part.until_offset - part.from_offset for part in parts)


def _feature_names(facts: Facts) -> tuple[str, ...]:
    return tuple(one.name for one in facts.snapshot.profile)


def _heads(facts: Facts, windows: Mapping[WindowName, Gathered]) -> dict[WindowName, WindowHead]:
    parts: dict[WindowName, Sequence[OffsetRange]] = {"new": [facts.new]}
    if facts.earlier:
        parts["previous"] = [facts.earlier]
    if facts.run:
        parts["training"] = facts.run.ranges
    heads: dict[WindowName, WindowHead] = {}
    for name, gathered in windows.items():
        times = gathered.times_ms
        heads[name] = WindowHead(
            rows=gathered.rows,
            sampled=len(times),
            from_offset=min(part.from_offset for part in parts[name]),
            until_offset=max(part.until_offset for part in parts[name]),
            from_time_ms=int(times.min()) if len(times) else None,
            until_time_ms=int(times.max()) if len(times) else None,
        )
    return heads


# ---- refusals, and what is to be said about the reading --------------------------------------------------------------


async def _letters(
    project: Project, transport: Transport, facts: Facts, windows: Mapping[WindowName, Gathered]
) -> tuple[Counted, list[str]]:
    """The letters whose origin lies after what the previous window came from, up to what the new one came from."""
    stretches = {range_of(facts.snapshot).topic: (facts.new.from_offset, facts.new.until_offset)}
    new, before = windows["new"].sources, windows["previous"].sources if "previous" in windows else {}
    for row in (topics.EVENTS, topics.LABELS):
        topic = topic_name(row, project)
        low = before[topic][1] + 1 if topic in before else 0 if facts.previous is None else new.get(topic, (0, 0))[0]
        high = new[topic][1] + 1 if topic in new else low
        stretches[topic] = (low, high)
    names = [str(field["name"]) for field in project.event_schema["fields"]]
    topic = topic_name(topics.DEAD_LETTERS, project)
    counted, notes = await read_letters(transport, topic, facts.partition, stretches, names)
    if facts.is_last and counted.later:
        notes.append(f"refused since this snapshot: {counted.later:,}; the next one will tell of them")
    return counted, notes


def _differences(facts: Facts, windows: Mapping[WindowName, Gathered]) -> list[str]:
    """What keeps the report from being exact, said rather than hidden."""
    notes = []
    before = 0 if facts.previous is None else facts.previous.rows
    expected, seen = facts.snapshot.rows - before, windows["new"].rows
    if seen != expected:
        notes.append(
            f"the snapshot counted {expected:,} new events, {seen:,} could be read: the others were erased or removed"
        )
    for name, one in windows.items():
        if one.rows > len(one.offsets):
            share = f"{len(one.offsets):,} of {one.rows:,}"
            notes.append(f"{name} rows: numbers are of a sample of {share}; counts and missing values are of all rows")
    if facts.version is None:
        notes.append("no version served when the snapshot was taken, so there is no training data to compare with")
    elif facts.run is None or "training" not in windows:
        notes.append(f"the rows that version {facts.version} was trained on cannot be read any more")
    elif facts.run.feature_set != facts.snapshot.feature_set:
        notes.append(
            f"version {facts.version} was trained on other features ({facts.run.feature_set}): only fields are compared"
        )
    if facts.previous is None:
        notes.append("this is the first snapshot of its partition: all of its rows are new")
    return notes
