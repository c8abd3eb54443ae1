"""What must hold of every verdict, whatever was measured: found by looking for a counter-example."""

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_policy import Guardrails, Rollout
from services.registry.rollout.evidence import Evidence
from services.registry.rollout.examples import arm, deployed, measured, pair
from services.registry.rollout.judge import Hold, Promote, RollBack, Shift, verdict_on

STRATEGIES = ("canary", "shadow", "ab", "bandit", "blue_green")
GATES = Gates(first=0.6)
RAILS = Guardrails(rows_min=10, loss_margin=0.05)
COUNTS = st.integers(0, 400)


@st.composite
def parts(draw, *, labels=True):
    """One partition's measurement, made of whole numbers that fit together."""
    rows, errors, missing = draw(COUNTS), draw(st.integers(0, 6)), draw(st.integers(0, 3))
    known = draw(st.integers(0, rows)) if labels else 0
    worse = draw(st.integers(0, known))
    better = draw(st.integers(0, known - worse))
    others = draw(COUNTS)
    wrong = draw(st.integers(0, others))
    faults = {"error_rows": errors, "missing_rows": missing}
    scored = rows + errors + missing
    tried = arm(
        "candidate", scored_rows=scored, scoring_us=20 * scored, labelled_rows=known, loss_sum=worse,
        loss_squares_sum=worse, **faults,
    )  # fmt: skip
    champion = arm(
        "champion", scored_rows=others, scoring_us=20 * others, labelled_rows=others if labels else 0,
        loss_sum=wrong if labels else 0, loss_squares_sum=wrong if labels else 0,
    )  # fmt: skip
    return (champion, tried), pair(known, worse=worse, better=better)


def verdict(strategy, some, *, step=0, now_ms=0):
    """What follows from these partitions, all of one epoch."""
    evidence = Evidence()
    for partition, (arms, one) in enumerate(some):
        evidence = evidence.add(measured(partition=partition, arms=arms, pairs=[one]))
    rollout = Rollout(
        strategy=strategy, steps=(0.1, 0.5), step_rows=20, shadow_rows=50, horizon_rows=300, rebalance_rows=50,
        rows_max=900, guardrails=RAILS,
    )  # fmt: skip
    mode = "SHADOW" if strategy in {"shadow", "blue_green"} else "LIVE"
    share = 0.0 if mode == "SHADOW" else 0.3
    return verdict_on(
        rollout, GATES, deployed(strategy, [("candidate", share)], step=step, mode=mode), evidence, now_ms
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRATEGIES), st.lists(parts(), min_size=1, max_size=4), st.randoms())
def test_a_verdict_is_a_function_of_sums(strategy, some, random):
    """Partitions in another order, or all rows in one partition, give the same verdict, word for word."""
    shuffled = random.sample(some, len(some))
    evidence = Evidence()
    for partition, (arms, one) in enumerate(some):
        evidence = evidence.add(measured(partition=partition, arms=arms, pairs=[one]))
    whole = [(tuple(evidence.arms().values()), evidence.pairs()["candidate"])]

    assert verdict(strategy, some) == verdict(strategy, shuffled) == verdict(strategy, whole)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(STRATEGIES), parts(), st.integers(1, 40), st.sampled_from(["error_rows", "missing_rows"]))
def test_more_faults_never_soften_a_verdict(strategy, part, more, what):
    """What was rolled back stays so with more faults, whether they are among the same events or new ones."""
    (champion, tried), one = part
    sharper = [
        tried.model_copy(update={what: getattr(tried, what) + more}),
        tried.model_copy(update={what: getattr(tried, what) + more, "scored_rows": tried.scored_rows + more}),
    ]
    found = [verdict(strategy, [((champion, tried), one)])]
    found += [verdict(strategy, [((champion, other), one)]) for other in sharper]

    if isinstance(found[0], RollBack):
        assert all(isinstance(later, RollBack) for later in found)
    if not isinstance(found[0], Promote | Shift):
        assert not any(isinstance(later, Promote | Shift) for later in found)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["canary", "shadow"]), parts(), st.integers(0, 1))
def test_more_worse_answers_never_soften_a_verdict(strategy, part, step):
    """A row that was equal and is now worse turns no rollback into anything else, and nothing into a promotion."""
    arms, one = part
    if one.worse_rows + one.better_rows >= one.paired_rows:
        return
    worse = pair(one.paired_rows, worse=one.worse_rows + 1, better=one.better_rows)
    before, after = (verdict(strategy, [(arms, each)], step=step) for each in (one, worse))

    if isinstance(before, RollBack):
        assert isinstance(after, RollBack)
    if not isinstance(before, Promote):
        assert not isinstance(after, Promote)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["canary", "shadow", "ab", "bandit"]), st.lists(parts(labels=False), max_size=3),
    st.integers(0, 1), st.integers(0, 10**9),
)  # fmt: skip
def test_nothing_advances_without_labels(strategy, some, step, now_ms):
    """Whatever was scored, at whatever time: hold or roll back."""
    assert isinstance(verdict(strategy, some, step=step, now_ms=now_ms), Hold | RollBack)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRATEGIES), st.lists(parts(), min_size=1, max_size=3), st.integers(0, 1))
def test_shares_are_shares(strategy, some, step):
    """Each between 0 and 1, 1 in all, the champion's among them; the step grows by one."""
    found = verdict(strategy, some, step=step)
    if isinstance(found, Shift):
        assert {"champion", "candidate"} == set(found.shares)
        assert all(0 <= share <= 1 for share in found.shares.values())
        assert abs(1 - sum(found.shares.values())) < 1e-9
        assert step + 1 == found.step
    assert found.reason
