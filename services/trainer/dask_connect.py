"""The way into a Dask cluster: a client, and a look at the workers before anything is fitted."""

from collections.abc import Callable
from typing import Any

import distributed as _distributed
from distributed import TimeoutError as DaskTimeoutError

from millrace.telemetry.log import get_logger
from services.trainer import dask_worker
from services.trainer.dask_reference import Cluster

log = get_logger(__name__)


class ClusterError(BaseException):
    """The cluster failed, not a candidate."""


def connected(cluster: Cluster) -> Any:
    """A client of its scheduler. Raises ``ClusterError`` if that is not there."""
    distributed: Any = _distributed  # which is typed here and there
    ca, cert, key = cluster.tls_ca_file, cluster.tls_cert_file, cluster.tls_key_file
    is_tls = cluster.scheduler.startswith("tls://")
    if is_tls and None in {ca, cert, key}:
        raise ClusterError("it speaks TLS, which needs certificates, a certificate of one's own and its key")
    security = distributed.Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=is_tls)
    try:
        return distributed.Client(cluster.scheduler, timeout=cluster.connect_s, security=security, set_as_default=False)
    except (OSError, DaskTimeoutError) as error:
        raise ClusterError(f"its scheduler is not there: {error}") from error


def ready(client: Any, cluster: Cluster) -> bool:
    """Whether its workers have a lake.

    Raises:
        ClusterError: there are none, one is not like the trainer, or only some have a lake.
    """
    try:
        client.wait_for_workers(1, timeout=cluster.connect_s)
    except DaskTimeoutError as error:
        raise ClusterError(f"it has no workers after {cluster.connect_s:g} s") from error
    here = dask_worker.identity()
    for worker, found in _of_each(client, dask_worker.identity).items():
        if tuple(found) != here:
            raise ClusterError(
                f"worker {worker} has {dask_worker.differences(here, found)}: a model's bytes depend on them, so "
                "install there what is installed here, from the same lock file"
            )
    lakes = _of_each(client, dask_worker.has_lake)
    if len(set(lakes.values())) > 1:
        without = ", ".join(worker for worker, has in lakes.items() if not has)
        raise ClusterError(f"MILLRACE_LAKE is set on some of its workers, and not on {without}")
    if not all(lakes.values()):
        log.warning("the workers have no lake, so the rows are brought to them; set MILLRACE_LAKE there")
    return all(lakes.values())


def _of_each(client: Any, question: Callable[[], Any]) -> dict[str, Any]:
    """Each worker's answer."""
    answers: dict[str, Any] = client.run(question, on_error="return")
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ClusterError(f"worker {worker} cannot work for Millrace, install it there: {answer!r}")
    return answers
