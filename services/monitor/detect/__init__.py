"""The drift detectors, one algorithm in each file, all with the interface of ``base.Detector``.

``tests/test_every_detector.py`` holds each class in ``DETECTORS`` to the same promises.
"""

from collections.abc import Mapping

from services.monitor.detect.adwin import Adwin
from services.monitor.detect.base import Change, Detector
from services.monitor.detect.page_hinkley import PageHinkley

__all__ = ["DETECTORS", "Adwin", "Change", "Detector", "PageHinkley"]

DETECTORS: Mapping[str, type[Detector]] = {detector.name: detector for detector in (Adwin, PageHinkley)}
