"""The drift detectors, one algorithm in each file.

Those in ``DETECTORS`` watch a sequence of numbers row by row, with the interface of ``base.Detector``. Those in
``WINDOW_DETECTORS`` compare a window of rows with reference rows, with the interface of ``window.WindowDetector``. Both
are keyed by their names in model.yaml. ``tests/test_every_detector.py`` and
``tests/monitor/test_every_window_detector.py`` hold each of them to the same promises.
"""

import inspect
from collections.abc import Mapping

from services.monitor.detect.adwin import Adwin
from services.monitor.detect.base import Change, Detector
from services.monitor.detect.chi_square import ChiSquare
from services.monitor.detect.ddm import Ddm
from services.monitor.detect.domain_classifier import DomainClassifier
from services.monitor.detect.e_detector import EDetector
from services.monitor.detect.eddm import Eddm
from services.monitor.detect.fhddm import Fhddm
from services.monitor.detect.hddm_a import HddmA
from services.monitor.detect.hddm_w import HddmW
from services.monitor.detect.jensen_shannon import JensenShannon
from services.monitor.detect.ks import KolmogorovSmirnov
from services.monitor.detect.kswin import Kswin
from services.monitor.detect.missing_rate import MissingRate
from services.monitor.detect.new_categories import NewCategories
from services.monitor.detect.page_hinkley import PageHinkley
from services.monitor.detect.psi import Psi
from services.monitor.detect.wasserstein import Wasserstein
from services.monitor.detect.window import Comparison, Counted, WindowDetector

__all__ = [
    "DETECTORS",
    "WINDOW_DETECTORS",
    "Adwin",
    "Change",
    "Comparison",
    "Counted",
    "Detector",
    "DomainClassifier",
    "EDetector",
    "PageHinkley",
    "WindowDetector",
    "detector_of",
]

DETECTORS: Mapping[str, type[Detector]] = {
    "e_detector": EDetector,
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
    "ddm": Ddm,
    "eddm": Eddm,
    "fhddm": Fhddm,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
}

WINDOW_DETECTORS: Mapping[str, type[WindowDetector]] = {
    detector.name: detector
    for detector in (
        Psi, KolmogorovSmirnov, Wasserstein, ChiSquare, JensenShannon, NewCategories, MissingRate, DomainClassifier,
    )
}  # fmt: skip


def detector_of(name: str, parameters: Mapping[str, float]) -> Detector:
    """A new detector by its name in model.yaml.

    >>> dict(detector_of("adwin", {"delta": 0.01, "clock": 16.0}).parameters)["clock"]
    16

    Raises:
        ValueError: there is no such detector, or it has no such parameter or refuses its value; it names both.
    """
    make = DETECTORS.get(name)
    if make is None:
        raise ValueError(f"there is no detector {name!r}; there are {', '.join(DETECTORS)}")
    known = list(inspect.signature(make).parameters)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    return make(**parameters)
