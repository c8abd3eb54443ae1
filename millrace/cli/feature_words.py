"""Each kind of feature in words."""

from millrace.contracts import feature_spec as features
from millrace.contracts.sections import Label

_CURVES = {"sin": "sine", "cos": "cosine"}


def define(spec: features.FeatureSpec, label: Label) -> str:
    """What the feature is, in words.

    >>> define(features.Lag(name="x", kind="lag", field="price", rows=2), Label(classes=("no", "yes"), delay_s=1))
    'price 2 rows ago'
    """
    if isinstance(spec, features.OfWindow):
        return _of_window(spec)
    if isinstance(spec, features.OfLabels):
        return _of_labels(spec, label)
    return _of_rows(spec)


def _of_window(spec: features.OfWindow) -> str:
    window = f"the newest {_rows(spec.rows)}" if spec.rows else f"the last {_seconds(spec.span_s or 0)}"
    match spec:
        case features.RollingMean():
            return f"mean of {spec.field} over {window}"
        case features.RollingShare():
            return f"share of {window} with {spec.field} above {spec.above:g}"
        case features.RollingMin():
            return f"least {spec.field} over {window}"
        case features.RollingMax():
            return f"greatest {spec.field} over {window}"
        case features.RollingStd():
            return f"standard deviation of {spec.field} over {window}"
        case features.RollingCount():
            return f"how many of {window} have {spec.field}"


def _of_labels(spec: features.OfLabels, label: Label) -> str:
    match spec:
        case features.LabelLag():
            return "the newest known label" if spec.rows == 1 else f"the newest known label but {spec.rows - 1}"
        case features.LabelShare():
            return f"share of {_class(spec.equals, label)} among the newest {spec.rows} known labels"
        case features.LabelMean():
            return f"mean of the newest {spec.rows} known labels"


def _of_rows(spec: features.FeatureSpec) -> str:
    match spec:
        case features.Value():
            return spec.field
        case features.Lag():
            return f"{spec.field} {_rows(spec.rows)} ago"
        case features.Difference():
            return f"{spec.field} minus itself {_rows(spec.rows)} ago"
        case features.TimeSince():
            above = "" if spec.field is None else f" with {spec.field} above {spec.above:g}"
            return f"seconds since the row before{above}"
        case features.Ewm():
            half_life = f"{spec.half_life_rows:g} rows" if spec.half_life_rows else _seconds(spec.half_life_s or 0)
            return f"mean of {spec.field}, weights halved every {half_life}"
        case _:
            return _of_one_row(spec)


def _of_one_row(spec: features.FeatureSpec) -> str:
    match spec:
        case features.Ratio():
            return f"{spec.field} over {spec.over or f'itself {_rows(spec.rows or 0)} ago'}"
        case features.Calendar():
            hours, seconds = divmod(abs(spec.utc_offset_s), 3600)
            sign = "-" if spec.utc_offset_s < 0 else "+"
            zone = f"{sign}{hours:02d}:{seconds // 60:02d}" if spec.utc_offset_s else ""
            part = f"{spec.part.replace('_', ' ')} of the event time in UTC{zone}"
            return part if spec.cyclic is None else f"{_CURVES[spec.cyclic]} of the {part}"
        case features.Category():
            return f"{spec.field} as its place among {_list(spec.values)}; -1 for any other"
        case features.IsCategory():
            return f"1 if {spec.field} is {spec.equals!r}, else 0"
        case features.Function():
            return f"{spec.function} of {', '.join(spec.inputs)}"
    raise TypeError(f"{spec} has no words")  # a kind that was declared and forgotten here


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _seconds(span_s: float) -> str:
    """In the largest unit that gives a whole number.

    >>> [_seconds(span_s) for span_s in (90, 5400, 7200, 604800, 0.5)]
    ['90 s', '90 min', '2 h', '7 days', '0.5 s']
    """
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if span_s % unit_s == 0 and span_s > unit_s:
            return f"{span_s / unit_s:g} {unit}"
    return f"{span_s:g} s"


def _list(values: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, values[:5]))
    return shown if len(values) <= 5 else f"{shown} … ({len(values)} values)"


def _class(index: float, label: Label) -> str:
    return repr(label.classes[int(index)]) if index in range(len(label.classes)) else f"{index:g}"
