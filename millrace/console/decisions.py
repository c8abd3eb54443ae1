"""What the registry knows of one model, folded from the console's rows by the registry's own rules.

So what waits for an approval, and what a request would lead to, is worked out by the code that will decide it. The fold
of a model is kept until the log says something new about the model's decisions.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from millrace.console.tables import Asked, Audit, Change, Deployment, Serving
from millrace.contracts.events import (
    AuditRecorded,
    DeploymentDecided,
    Event,
    ManageModel,
    ModelVersionChanged,
    ServingStatusReported,
)
from millrace.contracts.gates_policy import Gates
from millrace.contracts.project import Project
from services.registry.facts import Policy
from services.registry.state import State, evolve

KEPT = 500
READ: tuple[tuple[Any, type[Event], Any], ...] = (
    (Change, ModelVersionChanged, Change.log_offset),
    (Deployment, DeploymentDecided, Deployment.epoch),
    (Asked, ManageModel, Asked.log_offset),
    (Audit, AuditRecorded, Audit.log_offset),
    (Serving, ServingStatusReported, Serving.epoch),
)
Key = tuple[str, tuple[int | None, ...]]


class Decisions:
    """Folds of models, with the policies of the projects that are known."""

    def __init__(self, projects: Mapping[str, Project]) -> None:
        self._projects = projects
        self._known: OrderedDict[Key, State] = OrderedDict()
        self._lock = threading.Lock()  # pages and the writer ask in threads of their own

    def state(self, session: Session, model: str) -> State:
        """The fold of what the log says of a model, besides its runs."""
        key = (model, tuple(session.scalar(_newest(table, order, model)) for table, _, order in READ))
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        state = _folded(session, model)
        with self._lock:
            self._known[key] = state
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return state

    def policy(self, model: str) -> Policy | None:
        """What the model's project asks for; None where the console has no project of it."""
        project = self._projects.get(model)
        return None if project is None else Policy.of(project)


@lru_cache
def lenient() -> Policy:
    """The policy that stands in for that of a project which the console does not know."""
    return Policy(Gates(first=0.0))


def _newest(table: Any, order: Any, model: str) -> Any:
    found = select(func.max(order)).where(table.model == model)
    return found.where(table.kind == "manage") if table is Asked else found


def _folded(session: Session, model: str) -> State:
    state = State(model)
    for table, kind, order in READ:
        found = select(table.body).where(table.model == model).order_by(order)
        for body in session.scalars(found.where(table.kind == "manage") if table is Asked else found):
            state = evolve(state, _event(kind, body, model))
    return state


def _event(kind: type[Event], body: str, model: str) -> Event:
    event = kind.model_validate_json(body)
    if isinstance(event, AuditRecorded) and event.model is None:
        return event.model_copy(update={"model": model})
    return event
