"""Files that are replaced whole: a reader sees the old content or the new, never a part."""

import json
from pathlib import Path
from tempfile import NamedTemporaryFile


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as JSON; its folder is made where it is missing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8") as file:
        file.write(text)
    try:
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise
