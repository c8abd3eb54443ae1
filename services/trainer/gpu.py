"""Which graphics cards there are, as the driver's own tool tells: a fit may use them through the owner's libraries."""

import shutil
import subprocess
from typing import Any

TOOL = "nvidia-smi"
ASK_S = 5.0
FIELDS = ("name", "memory.total", "memory.used")
MIB = 1024 * 1024


def cards(tool: str = TOOL) -> list[dict[str, Any]]:
    """Name, memory and used memory in bytes of each; none where the tool is absent or does not answer."""
    path = shutil.which(tool)
    if path is None:
        return []
    question = [path, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(question, capture_output=True, text=True, timeout=ASK_S, check=True)  # noqa: S603  # argv is built here
    except (OSError, subprocess.SubprocessError):
        return []
    return [card for line in said.stdout.splitlines() if (card := _card(line))]


def _card(line: str) -> dict[str, Any] | None:
    """One line of its answer.

    >>> _card("NVIDIA L4, 23034, 512")
    {'name': 'NVIDIA L4', 'memory_bytes': 24152899584, 'memory_bytes_used': 536870912}
    """
    name, *sizes = (part.strip() for part in line.rsplit(",", 2))
    if len(sizes) != 2 or not all(size.isdecimal() for size in sizes):
        return None
    total, used = (int(size) * MIB for size in sizes)
    return {"name": name, "memory_bytes": total, "memory_bytes_used": used}
