"""A run done again: the rows of its ranges, and the fit of what its search settled on. The bytes must be the same.

The search itself is not repeated: its budget is in seconds, so it may settle on something else on another machine. What
it settled on is in the run, and fitting that is deterministic. An imported file was not fitted; it is judged again.
"""

import json
from collections.abc import Mapping

from millrace.bus.tasks import inline
from millrace.bus.transport import Transport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.events import RetrainModel, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.stores.artifacts import ArtifactStore
from services.trainer.asking import PatientStore
from services.trainer.fitter import Fitter
from services.trainer.material import Material, Wanted
from services.trainer.opening import IMPORTED
from services.trainer.reader import SamplesReader
from services.trainer.sources import Sources, policy_of
from services.trainer.train.task import Choice, FitError, FitResult


async def repeat(
    project: Project,
    transport: Transport,
    codec: Codec,
    artifacts: ArtifactStore,
    run: TrainingRunChanged,
    fit: Fitter,
) -> FitResult:
    """Do a run that succeeded again, from what its event says, with the project as it is now.

    There is no champion in it: whom the model was compared with is no part of its bytes. Nothing is written.

    Raises:
        FitError: the run gave no model, the project is another than then, the rows are not those of then, or the fit
            failed.
        OffsetGoneError: retention has removed some of the rows.
        ArtifactError: an imported file, or its sample, is lost.
    """
    if run.status != "SUCCEEDED":
        raise FitError(f"{run.run_id} is {run.status}, so it has no model that could come out again")
    sources = Sources.read(project)
    policy = policy_of(project, sources)
    store = PatientStore(artifacts, inline, 1)
    reader = SamplesReader(project, transport, codec)
    material = Material(project, policy, sources, codec, store, reader)
    request = await _request(transport, codec, run.caused_by) if run.source == IMPORTED else None
    wanted = Wanted(request=request, choice=None if run.source == IMPORTED else choice_of(run))
    return await fit(await material.task(run, await material.rows(run), wanted))


def choice_of(run: TrainingRunChanged) -> Choice:
    """What the run's search settled on, or the pipeline alone.

    Raises:
        FitError: the event does not say it, as those written before searches were did not.
    """
    try:
        params: Mapping[str, int | float | str | bool | None] = {
            name: json.loads(text) for name, text in run.params.items()
        }
    except ValueError as error:
        raise FitError(f"the parameters of {run.run_id} cannot be read: {dict(run.params)}") from error
    return Choice(run.family or "pipeline", params, run.window or "last")


async def _request(transport: Transport, codec: Codec, request_id: str) -> RetrainModel:
    """The request that named the imported file."""
    topic = topics.RETRAIN_REQUESTS.suffix
    bounds = await transport.bounds(topic, 0)
    async for records in transport.read(topic, 0, bounds.begin, bounds.end):
        for record in records:
            try:
                request = await codec.decode(RetrainModel, record.value)
            except ContractError:
                continue
            if request.request_id == request_id:
                return request
    raise FitError(f"the request {request_id} is not in {topic} any more, so the file is not known")
