"""Ports that a data folder keeps."""

import socket
from pathlib import Path

from millrace.local.ports import FIRST, LAST, PortBook


def test_ports_are_kept_across_restarts(tmp_path: Path) -> None:
    """The same folder gets the same ports again, all different and none that outgoing connections are given."""
    first = PortBook(tmp_path / "ports.json").choose(["a", "b", "c"])

    assert first == PortBook(tmp_path / "ports.json").choose(["a", "b", "c"])
    assert len(set(first.values())) == 3
    assert all(FIRST <= port <= LAST for port in first.values())


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    """Somebody else listens on a remembered port: only that one changes, and the change is remembered."""
    book = PortBook(tmp_path / "ports.json")
    first = book.choose(["a", "b"])
    with socket.create_server(("127.0.0.1", first["a"])):
        second = book.choose(["a", "b"])

    assert second["a"] not in first.values()
    assert second["b"] == first["b"]
    assert second == book.choose(["a", "b"])
