"""The streams: where a drift is known because it was planted, and long ones without any.

Each stream has a model that was trained on its first rows and then left alone, as in production between two retrains,
and at least 20 features: what the generator gives, and noise. Rows come from river's generators or are those of
``examples/electricity``. A world and a seed give the same stream, to the last bit.
"""

import gzip
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from river.datasets import synth
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Row = tuple[list[float], int]

FEATURES = 20
TRAIN_ROWS = 5_000
BEFORE_ROWS = 5_000  # stable rows before the drift, and up to SHIFT_ROWS more, so that it meets no clock of a detector
SHIFT_ROWS = 1_000
AFTER_ROWS = 6_000  # a drift that is not found in these is missed
RAMP_ROWS = 2_000  # from the first row of the new concept to the last of the old one, where a drift is gradual
SPELL_ROWS = 3_000  # how long a concept stays where drifts recur
WEEK_ROWS = 336  # half-hours
ELECTRICITY = Path(__file__).parents[2] / "examples" / "electricity" / "electricity.csv.gz"


@dataclass(frozen=True, slots=True)
class Stream:
    """What comes after the training rows.

    Attributes:
        features: one row for each event, all numbers.
        labels: the true class.
        values: the class that the model said.
        drifts: rows where the world became worse for the model; each is to be found.
        benign: rows where it became better again: a change, neither to be found nor a false alarm.
    """

    features: Floats
    labels: Ints
    values: Ints
    drifts: tuple[int, ...] = ()
    benign: tuple[int, ...] = ()

    @property
    def errors(self) -> Floats:
        """1 where the model was wrong."""
        return np.asarray(self.values != self.labels, np.float64)


@dataclass(frozen=True, slots=True)
class World:
    """One kind of stream.

    Attributes:
        name: for the table.
        kind: sudden, gradual, incremental, recurring or planted, where drifts are known; stable; or correlated, which
            is stable only in the long run and stands outside the promise.
        make: the stream of a seed, with so many events where it is stable.
    """

    name: str
    kind: str
    make: Callable[[int, int], Stream]


def sea(seed: int, variant: int) -> Iterator[Any]:
    """Three features, one without use; the threshold of their sum is the concept; a tenth of the labels is noise."""
    return iter(synth.SEA(variant=variant, noise=0.1, seed=seed))


def agrawal(seed: int, function: int) -> Iterator[Any]:
    """Nine features of people who want a loan."""
    return iter(synth.Agrawal(classification_function=function, perturbation=0.05, seed=seed))


def sine(seed: int, function: int) -> Iterator[Any]:
    """Two features, on one or the other side of a curve, and two of noise."""
    return iter(synth.Sine(classification_function=function, has_noise=True, seed=seed))


def led(seed: int, swapped: int) -> Iterator[Any]:
    """Ten digits on a display with seven lights, a tenth of them wrong, and 17 of noise; ``swapped`` trade places."""
    kind: Any = synth.LEDDrift
    return iter(kind(seed=seed, noise_percentage=0.1, irrelevant_features=True, n_drift_features=swapped))


def hyperplane(seed: int, moving_from: int | None = None, speed: float = 0.0) -> Iterator[Any]:
    """20 features, on one or the other side of a plane that turns from a row on."""
    kind: Any = synth.Hyperplane
    plane = kind(seed=seed, n_features=FEATURES, n_drift_features=10, noise_percentage=0.05, sigma=0.0)
    for number, row in enumerate(plane):
        yield row
        if number + 2 == moving_from:
            plane.mag_change = speed


def concepts(*sources: Iterator[Any], which: Ints) -> Iterator[Any]:
    """For each row the next one of the source that ``which`` names."""
    return (next(sources[number]) for number in which.tolist())


def stream_of(rows: Iterator[Any], seed: int, *, count: int, linear: bool, **places: tuple[int, ...]) -> Stream:
    """Train on the first rows, answer the rest."""
    taken = [(list(row.values()), int(label)) for row, label in itertools.islice(rows, TRAIN_ROWS + count)]
    features = np.array([row for row, _ in taken], np.float64)
    labels = np.array([label for _, label in taken], np.int64)
    return answered(features, labels, seed, linear=linear, **places)


def answered(features: Floats, labels: Ints, seed: int, *, linear: bool, **places: tuple[int, ...]) -> Stream:
    """The stream with the answers of a model that was trained on its first rows."""
    missing = max(0, FEATURES - features.shape[1])
    noise = np.random.default_rng((seed, 1)).random((len(features), missing))
    wide = np.hstack([features, noise])
    model = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        if linear
        else DecisionTreeClassifier(max_depth=8, min_samples_leaf=20, random_state=0)
    )
    model.fit(wide[:TRAIN_ROWS], labels[:TRAIN_ROWS])
    values = model.predict(wide[TRAIN_ROWS:]).astype(np.int64)
    return Stream(wide[TRAIN_ROWS:], labels[TRAIN_ROWS:], values, **places)


def drift_place(seed: int) -> int:
    """Where the drift begins, after the training rows."""
    return BEFORE_ROWS + int(np.random.default_rng((seed, 2)).integers(SHIFT_ROWS))


def drifting(
    source: Callable[[int, int], Iterator[Any]], concept: tuple[int, int], *, linear: bool, ramp: int = 1
) -> Callable[[int, int], Stream]:
    """One concept, then another: at once, or each row more likely from the new one for ``ramp`` rows."""

    def make(seed: int, _: int) -> Stream:
        place = drift_place(seed)
        count = place + ramp + AFTER_ROWS
        share = np.clip((np.arange(TRAIN_ROWS + count) - TRAIN_ROWS - place + 1) / ramp, 0, 1)
        which = (np.random.default_rng((seed, 3)).random(len(share)) < share).astype(np.int64)
        rows = concepts(source(seed, concept[0]), source(seed + 1_000_000, concept[1]), which=which)
        return stream_of(rows, seed, count=count, linear=linear, drifts=(place,))

    return make


def recurring(
    source: Callable[[int, int], Iterator[Any]], concept: tuple[int, int], *, linear: bool
) -> Callable[[int, int], Stream]:
    """The other concept comes for a spell, goes, comes again, goes, and comes a third time."""

    def make(seed: int, _: int) -> Stream:
        begin = drift_place(seed)
        places = tuple(begin + SPELL_ROWS * spell for spell in range(6))
        which = np.searchsorted(places, np.arange(-TRAIN_ROWS, places[-1]), side="right") % 2
        rows = concepts(source(seed, concept[0]), source(seed + 1_000_000, concept[1]), which=which)
        return stream_of(rows, seed, count=places[-1], linear=linear, drifts=places[0:5:2], benign=places[1:5:2])

    return make


def turning(speed: float) -> Callable[[int, int], Stream]:
    """A plane that stands still and then turns, a little with each row."""

    def make(seed: int, _: int) -> Stream:
        place = drift_place(seed)
        rows = hyperplane(seed, TRAIN_ROWS + place, speed)
        return stream_of(rows, seed, count=place + AFTER_ROWS, linear=True, drifts=(place,))

    return make


def stable(source: Callable[[int], Iterator[Any]], *, linear: bool) -> Callable[[int, int], Stream]:
    """One concept for ever."""
    return lambda seed, count: stream_of(source(seed), seed, count=count, linear=linear)


@cache
def electricity() -> tuple[Floats, Ints]:
    """The features of the example's model, in the order of time, and the labels."""
    with gzip.open(ELECTRICITY, "rt", encoding="utf-8") as lines:
        table = np.loadtxt(lines, delimiter=",", skiprows=1)
    fields, labels = table[:, :6], table[:, 6]
    moves = np.diff(fields[:, 1:], axis=0, prepend=fields[:1, 1:])
    known = np.concatenate([[0.0], labels[:-1]])
    before = np.concatenate([[0.0], known[:-1]])
    day = np.convolve(known, np.ones(48) / 48)[: len(known)]
    return np.column_stack([fields, moves, known, before, day]), labels.astype(np.int64)


def planted(fault: Callable[[Floats, Ints, np.random.Generator], None]) -> Callable[[int, int], Stream]:
    """The rows of electricity in random order, so that nothing drifts, and from a place on with a fault."""

    def make(seed: int, _: int) -> Stream:
        features, labels = electricity()
        place = drift_place(seed)
        rng = np.random.default_rng((seed, 4))
        picked = rng.permutation(len(labels))[: TRAIN_ROWS + place + AFTER_ROWS]
        faulty, told = features[picked], labels[picked]
        fault(faulty[TRAIN_ROWS + place :], told[TRAIN_ROWS + place :], rng)
        return answered(faulty, told, seed, linear=False, drifts=(place,))

    return make


def swapped(features: Floats, _labels: Ints, _rng: np.random.Generator) -> None:
    """Upstream mixes up two columns, price and demand, and with them how both moved."""
    features[:, [1, 2]] = features[:, [2, 1]]
    features[:, [6, 7]] = features[:, [7, 6]]


def flipped(_features: Floats, labels: Ints, rng: np.random.Generator) -> None:
    """A tenth of the labels becomes the opposite."""
    wrong = rng.random(len(labels)) < 0.1
    labels[wrong] = 1 - labels[wrong]


def redrawn(block: int) -> Callable[[int, int], Stream]:
    """Rows of electricity for ever: drawn in blocks of so many neighbours, with replacement."""

    def make(seed: int, count: int) -> Stream:
        features, labels = electricity()
        rng = np.random.default_rng((seed, 5))
        begins = rng.integers(0, len(labels) - block + 1, (TRAIN_ROWS + count) // block + 1)
        picked = (begins[:, np.newaxis] + np.arange(block)).ravel()[: TRAIN_ROWS + count]
        return answered(features[picked], labels[picked], seed, linear=False)

    return make


WORLDS: tuple[World, ...] = (
    World("SEA, sudden", "sudden", drifting(sea, (2, 3), linear=True)),
    World("Agrawal, sudden", "sudden", drifting(agrawal, (0, 2), linear=False)),
    World("SINE, sudden reversal", "sudden", drifting(sine, (0, 1), linear=True)),
    World("LED, sudden", "sudden", drifting(led, (0, 3), linear=False)),
    World("SEA, gradual", "gradual", drifting(sea, (2, 3), linear=True, ramp=RAMP_ROWS)),
    World("Agrawal, gradual", "gradual", drifting(agrawal, (0, 2), linear=False, ramp=RAMP_ROWS)),
    World("Hyperplane, incremental", "incremental", turning(0.001)),
    World("Hyperplane, slower", "incremental", turning(0.0003)),
    World("SEA, recurring", "recurring", recurring(sea, (2, 3), linear=True)),
    World("SINE, recurring", "recurring", recurring(sine, (0, 2), linear=False)),
    World("electricity, columns swapped", "planted", planted(swapped)),
    World("electricity, labels flipped", "planted", planted(flipped)),
    World("SEA, stable", "stable", stable(lambda seed: sea(seed, 2), linear=True)),
    World("SINE, stable", "stable", stable(lambda seed: sine(seed, 0), linear=False)),
    World("Hyperplane, stable", "stable", stable(hyperplane, linear=True)),
    World("LED, stable", "stable", stable(lambda seed: led(seed, 0), linear=False)),
    World("Agrawal, stable", "stable", stable(lambda seed: agrawal(seed, 0), linear=False)),
    World("electricity, rows redrawn", "stable", redrawn(1)),
    World("electricity, weeks redrawn", "correlated", redrawn(WEEK_ROWS)),
)
