"""200 models and 10,000 runs: what a page costs does not grow with them."""

import json

import pytest

from millrace.console.tables import Run
from tests.console.world import begun, console, drifted, get, measured, new_world
from tests.registry.lives import run

MODELS, RUNS = 200, 10_000
BOUND = {"/api/overview": 40, "/api/models?limit=50": 4, "/api/runs?limit=50": 4, "/api/models/m007": 80,
         "/api/models/m007/timeline?max_points=100": 20, "/api/models/m007/versions": 20,
         "/api/runs?model=m007&status=SUCCEEDED": 4, "/api/audit": 4, "/api/alerts": 6}  # fmt: skip
"""SQL statements that each page may need, whatever there is."""


def filled(database):
    """200 models, each with 50 runs, 40 measurements and a drift, as the log would have told them."""
    runs, others = [], []
    for number in range(RUNS):
        name = f"m{number % MODELS:03d}"
        runs.append((number, run(number).model_copy(update={"model": name, "run_id": f"run-{number}"})))
    for model in range(MODELS):
        name = f"m{model:03d}"
        others += [measured(offset, 0.8, model=name) for offset in range(40)]
        others.append(drifted(1, model=name, drift_id=f"drift/{name}"))
    database.apply("training-runs", RUNS, runs)
    for offset, event in enumerate(others):
        if event.schema_name == "drift-detected":
            database.apply("drift-events", offset, [(offset, event)])
    metrics = [(offset, event) for offset, event in enumerate(others) if event.schema_name != "drift-detected"]
    database.apply("model-metrics", len(others), metrics)


@pytest.fixture
async def served(tmp_path):
    """A console with all of it."""
    world = await new_world(tmp_path / "project")
    async with console(world, tmp_path) as (service, client):
        filled(service.database)
        service.database.summarise({f"m{model:03d}" for model in range(MODELS)}, service._decisions, {}, 0)
        yield service, client


async def test_each_page_costs_a_bounded_number_of_statements(served):
    """Counted, not timed; and no page carries more than it shows."""
    service, client = served
    statements = []
    service.database.watch(statements.append)
    costs, sizes = {}, {}
    for path in BOUND:
        statements.clear()
        sizes[path] = len(json.dumps(await get(client, path)))
        costs[path] = len(statements)

    assert {} == {path: cost for path, cost in costs.items() if cost > BOUND[path]}
    assert {} == {path: size for path, size in sizes.items() if size > 400_000}


async def test_pages_of_runs_meet_every_run_once_by_an_index(served):
    """50 at a time to the end; SQLite sorts nothing and scans no table for it."""
    service, client = served
    seen, cursor = [], ""
    while cursor is not None:
        page = await get(client, f"/api/runs?limit=500&cursor={cursor}")
        seen += [one["run_id"] for one in page["runs"]]
        cursor = page["next"]
    with service.database.session() as session:
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM runs WHERE model = 'm007' AND number < 900 ORDER BY number DESC LIMIT 51"
        )
        steps = " ".join(str(row[3]) for row in plan)

    assert (RUNS, RUNS) == (len(seen), len(set(seen)))
    assert "runs_of_model" in steps
    assert "SCAN" not in steps
    assert "TEMP B-TREE" not in steps


async def test_a_new_run_is_seen_at_once_among_all_of_them(served):
    """The list of one model, newest first."""
    service, client = served
    service.database.apply("training-runs", RUNS + 1, [(RUNS + 1, begun(7, model="m007", run_id="newest"))])
    found = await get(client, "/api/models/m007/runs?limit=1")

    assert "newest" == found["runs"][0]["run_id"]
    with service.database.session() as session:
        assert session.get(Run, ("m007", "newest")) is not None
