"""What a search may draw."""

import optuna
import pytest
from pydantic import ValidationError

from millrace.contracts.training_policy import Search
from services.trainer.train.search.space import candidates, draw, first_draws
from tests.trainer.search.made import searching, signs


def test_draws_keep_to_the_space():
    """Whole numbers for whole ends, others for others, a list is a choice; families share no parameter."""
    search = searching("logistic", "tree")
    families = candidates(signs(), search, {"logistic": True, "tree": True})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = [draw(study.ask(), families) for _ in range(60)]
    logistic = [one.params for one in drawn if one.family == "logistic"]
    tree = [one.params for one in drawn if one.family == "tree"]
    assert 60 == len(logistic) + len(tree)
    assert all(set(one) == {"c"} and 0.01 <= one["c"] <= 10.0 for one in logistic)
    assert sum(one["c"] < 0.3 for one in logistic) > len(logistic) / 4  # on a logarithmic scale
    assert {1, 2, 3, 4, 5, 6} == {one["depth"] for one in tree}
    assert {1, 5, 20} == {one["leaf"] for one in tree}


def test_without_families_the_pipeline_is_the_only_one():
    """With no hyperparameters, only its windows."""
    families = candidates(signs(), Search(), {"pipeline": False})
    assert {"pipeline": ({}, ("last:600", "last:300", "last:150"))} == families


def test_the_first_draws_cover_families_and_windows():
    """Each family once, and each window with some family."""
    families = candidates(signs(), searching("logistic", "tree"), {"logistic": False, "tree": False})
    draws = first_draws(families)
    assert ["logistic", "tree", "logistic"] == [one["family"] for one in draws]
    windows = [value for one in draws for name, value in one.items() if name != "family"]
    assert ["last:600", "last:300", "last:150"] == windows


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"families": [{"name": "a", "build": "p.py:b"}, {"name": "a", "build": "p.py:c"}]}, "different names"),
        ({"families": [{"name": "a", "build": "p.py:b", "space": {"x": []}}]}, "nothing to choose from for x"),
        ({"families": [{"name": "a", "build": "p.py:b", "space": {"x": {"low": 2, "high": 1}}}]}, "low < high"),
        ({"windows": []}, "at least 1"),
    ],
)
def test_a_space_that_says_nothing_is_refused(section, said):
    """When model.yaml is read."""
    with pytest.raises(ValidationError, match=said):
        Search.model_validate(section)
