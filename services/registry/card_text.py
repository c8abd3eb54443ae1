"""A model card as Markdown. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from services.registry.cards import Card, RangeView
from services.registry.views import CheckView

EMPTY = "The log does not tell."


def markdown(card: Card) -> str:
    """The card for people. What comes from a record cannot add markup: line ends and bars are taken out of it."""
    return "\n".join([*_head(card), *_data(card), *_tests(card), *_life(card), ""])


def _head(card: Card) -> Iterator[str]:
    yield f"# {_plain(card.model)}, version {card.version}"
    yield ""
    yield from _table(
        ("", ""),
        [
            ("status", f"{card.status} ({card.space})"),
            ("registered", _time(card.registered_at_ms)),
            ("comes from", f"{card.source}, run {card.run_id}"),
            ("because", card.because),
            ("model file", f"SHA-256 {card.artifact_sha256}"),
            ("signed with", card.key_id or "nothing"),
            ("family", card.family or EMPTY),
            ("window", card.window or EMPTY),
            *((f"parameter {name}", value) for name, value in sorted(card.params.items())),
        ],
    )


def _data(card: Card) -> Iterator[str]:
    yield "## Data"
    yield ""
    train, holdout = _rows(card.train_rows), _rows(card.holdout_rows)
    yield f"Trained on {train} rows; judged on {holdout} newer ones that it never saw. Feature set {card.feature_set}."
    yield ""
    yield from _table(("rows of", "from offset", "until offset"), [_range(one) for one in card.ranges])
    if card.excluded:
        yield "Left out, because their data was found bad:"
        yield ""
        yield from _table(("rows of", "from offset", "until offset"), [_range(one) for one in card.excluded])
    if card.snapshot_id is not None:
        table = "" if card.table_version is None else f", version {card.table_version} of the lake's table"
        yield f"Snapshot {_plain(card.snapshot_id)}{table}; SHA-256 of the rows {card.rows_sha256}."
        yield ""


def _tests(card: Card) -> Iterator[str]:
    yield "## How good it is"
    yield ""
    beside = "" if card.champion_version is None else f"version {card.champion_version} on the same rows"
    names = sorted({*card.metrics, *card.champion_metrics})
    yield from _table(
        ("metric on the hold-out rows", "this version", beside or "no champion to compare with"),
        [(name, _number(card.metrics.get(name)), _number(card.champion_metrics.get(name))) for name in names],
    )
    yield from _table(
        ("baseline on the same rows", "the gate's metric"),
        [(name, _number(value)) for name, value in sorted(card.baselines.items())],
    )
    yield "## Checks"
    yield ""
    yield from _table(("check", "passed", "value", "limit", "result"), [_check(one) for one in card.checks])
    if card.explanation:
        yield "## What it looks at"
        yield ""
        yield from (f"- {_plain(check.message)}" for check in card.explanation)
        yield ""


def _life(card: Card) -> Iterator[str]:
    yield "## Who agreed"
    yield ""
    yield from (f"- The gates: {_plain(reason)}" for reason in card.reasons)
    for one in card.approvals:
        yield f"- {_plain(one.by)}, {_time(one.at_ms)}, for {one.space or 'production'}: {_plain(one.reason)}"
    if not card.approvals:
        yield "- No person had to."
    yield ""
    yield "## Where it served"
    yield ""
    yield from _table(
        ("epoch", "as", "share", "from", "until"),
        [
            (
                str(one.epoch),
                one.variant,
                "unseen" if one.mode == "SHADOW" else f"{one.share * 100:.3g} %",
                _time(one.from_ms),
                "now" if one.until_ms is None else _time(one.until_ms),
            )
            for one in card.served
        ],
    )
    yield "## Known limits"
    yield ""
    yield from (f"- {_plain(limit)}" for limit in card.limits)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield EMPTY if not heads[0] else f"No {heads[0]}: {EMPTY[0].lower()}{EMPTY[1:]}"
        yield ""
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(_plain, row))} |"
    yield ""


def _check(check: CheckView) -> Sequence[str]:
    return check.name, "yes" if check.passed else "no", _number(check.value), _number(check.limit), check.message


def _range(one: RangeView) -> Sequence[str]:
    return f"{one.topic}/{one.partition}", str(one.from_offset), str(one.until_offset)


def _rows(count: int | None) -> str:
    return "an unknown number of" if count is None else str(count)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    r"""Text that stays in its cell.

    >>> _plain("a|b\nc")
    'a/b c'
    """
    return " ".join(text.replace("|", "/").split())


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
