"""The answer's form: things and what came from what. Pure.

As JSON, stable: ``{"subject": id, "nodes": [{"id", "kind", "title", "facts": {…}}], "edges": [{"from", "to", "how"}],
"notes": [text]}``. An edge goes from what was there first to what came from it. Facts are the fields of the events that
say them, under the same names; times are milliseconds. What is not known is null, or left out.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """A thing. ``kind`` is one of ``KINDS``; ``id`` is unique in the graph."""

    id: str
    kind: str
    title: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """``target`` came from ``source``."""

    source: str
    target: str
    how: str


KINDS = (
    "event", "label", "sample", "reached", "prediction", "predictions", "version", "rejection", "deployment", "run",
    "rows", "table", "snapshot", "request", "drift",
)  # fmt: skip


@dataclass(slots=True)
class Graph:
    """Things by id, in the order in which they were met, and what came from what."""

    subject: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, name: str, title: str, **facts: Any) -> str:
        """Add a thing, unless it is known; returns its id."""
        assert kind in KINDS, kind
        node = Node(f"{kind}:{name}", kind, title, facts)
        self.nodes.setdefault(node.id, node)
        return node.id

    def connect(self, source: str, target: str, how: str) -> None:
        """Say that ``target`` came from ``source``, once."""
        edge = Edge(source, target, how)
        if edge not in self.edges:
            self.edges.append(edge)

    def note(self, text: str) -> None:
        """Say what the reader of the answer must know about it, once."""
        if text not in self.notes:
            self.notes.append(text)

    def sources(self, name: str) -> Iterator[tuple[str, Node]]:
        """What this came from, and how."""
        return ((edge.how, self.nodes[edge.source]) for edge in self.edges if edge.target == name)

    def results(self, name: str) -> Iterator[tuple[str, Node]]:
        """What came from this, and how."""
        return ((edge.how, self.nodes[edge.target]) for edge in self.edges if edge.source == name)

    def of_kind(self, kind: str) -> list[Node]:
        """All things of a kind."""
        return [node for node in self.nodes.values() if node.kind == kind]

    def as_json(self) -> dict[str, Any]:
        """The stable form; see the module's docstring."""
        return {
            "subject": self.subject,
            "nodes": [
                {"id": node.id, "kind": node.kind, "title": node.title, "facts": _finite(node.facts)}
                for node in self.nodes.values()
            ],
            "edges": [{"from": edge.source, "to": edge.target, "how": edge.how} for edge in self.edges],
            "notes": list(self.notes),
        }


def _finite(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no word for NaN and infinity: they are null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()
    }
