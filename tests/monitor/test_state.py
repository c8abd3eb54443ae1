"""Which requests are open, and who is champion, from whatever the control topics say."""

from services.monitor.core import open_retrain
from tests.monitor.controls import CANARY, DAY_MS, NOW_MS, REQUEST_ID, deployed, fold, requested


def test_a_request_that_nobody_answers_holds_back_for_a_limited_time() -> None:
    """A trainer that lost it must not stop the loop for ever."""
    state = fold(requested())

    assert open_retrain(state, NOW_MS + DAY_MS - 1, DAY_MS) is not None
    assert open_retrain(state, NOW_MS + DAY_MS, DAY_MS) is None


def test_a_canary_of_the_answer_holds_back_as_long_as_it_lasts() -> None:
    """However long its rollout takes: time alone ends a request only while nobody works on it."""
    late_ms = NOW_MS + 2 * DAY_MS

    assert REQUEST_ID == open_retrain(fold(deployed(1, 1), *CANARY), late_ms, DAY_MS)
    assert open_retrain(fold(deployed(1, 1), *CANARY[:-1]), late_ms, DAY_MS) is None


def test_the_champion_of_a_rollout_is_who_has_that_name() -> None:
    """Not who has the greater share: a canary that has nearly taken over is still one."""
    state = fold(deployed(1, 1), deployed(1, 2, tried=2))

    assert (1, {2}, {1: 0}) == (state.champion, state.tried, state.promoted)


def test_the_newest_epoch_names_the_champion() -> None:
    """Not the newest record: epochs only grow."""
    assert 2 == fold(deployed(2, 5), deployed(1, 4)).champion
