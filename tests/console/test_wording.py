"""What the log says is shown in words; what is no model does not become one."""

from tests.console.world import append, audited, console, drifted, eventually, get, new_world


async def test_an_audit_record_about_something_else_makes_no_model(tmp_path):
    """A letter's place or a pseudonym is the subject of a record, and no model; the older registry's subject is one."""
    world = await new_world(tmp_path / "project")
    async with console(world, tmp_path) as (_, client):
        others = ("tiny-dead-letters/0/0", "p-3f9a", "old version 3")
        records = [audited(number, model=None, subject=subject) for number, subject in enumerate(others)]
        await append(world, [drifted(1), *records])
        found = await eventually(client, "/api/audit", lambda page: page["total"] == len(others))
        models = await eventually(client, "/api/overview", lambda page: page["counts"]["models"] == 2)

    assert ["old", "tiny"] == sorted(one["model"] for one in models["models"])
    assert {"tiny-dead-letters/0/0": None, "p-3f9a": None, "old version 3": "old"} == {
        one["subject"]: one["model"] for one in found["audits"]
    }


async def test_a_drift_is_told_without_the_prefixes_of_the_log(tmp_path):
    """The feature by its name, the evidence as odds, and how far the histograms are apart."""
    world = await new_world(tmp_path / "project")
    said = {"message": "feature:x of version 1 rose", "log_e_value": 13.6}
    await append(world, [drifted(7, **said)])
    async with console(world, tmp_path) as (_, client):
        listed = await get(client, "/api/models/tiny/drifts")
        found = await get(client, "/api/models/tiny/drifts/drift%2Ftiny%2Ffeature:x%2F0%2F7")

    assert "x of version 1 rose" == listed["drifts"][0]["message"]
    assert 0.65 == round(listed["drifts"][0]["distance"], 6)
    assert "The evidence against no change is about 810,000 to 1." in found["words"]
