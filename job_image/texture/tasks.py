"""The list of textures a job is to make, as read from a file or from the command line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
KEYS = ("name", "sources", "parameters", "content")


@dataclass(frozen=True)
class Task:
    """One texture to make. name: of its folder. parameters: as written; a bad one fails this task and no other.
    content: for style transfer, the picture to keep."""

    name: str
    sources: tuple[Path, ...]
    parameters: Mapping[str, Any]
    content: Path | None = None


def read(path: Path) -> list[Task]:
    """The tasks in a file `{"schema": 1, "tasks": [{"name", "sources", "parameters", "content"}]}`.

    Parameters and content may be absent. Paths are relative to the file's folder. Raises ValueError, naming the file
    and the place in it, when it cannot be used at all.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f'{path}: a task list with "schema": {SCHEMA} is needed')
    entries = content.get("tasks")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path}: "tasks" must be a list with at least one task')
    tasks = [task(entry, path, f"tasks[{number}]") for number, entry in enumerate(entries)]
    names = [one.name for one in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: two tasks are named {name!r}; each needs a folder of its own")
    return tasks


def task(entry: object, path: Path, place: str) -> Task:
    """One entry of the list. Raises ValueError when it does not say what to make."""
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: {place} must be an object")
    unknown = sorted(set(entry) - set(KEYS))
    if unknown:
        raise ValueError(f"{path}: {place} has an unknown key {unknown[0]!r}; known keys: {', '.join(KEYS)}")
    name, sources, parameters = entry.get("name"), entry.get("sources"), entry.get("parameters", {})
    if not isinstance(name, str) or not is_folder_name(name):
        raise ValueError(f'{path}: {place} needs a "name" that can name a folder, not {name!r}')
    if not isinstance(sources, list) or not sources or not all(isinstance(one, str) and one for one in sources):
        raise ValueError(f'{path}: {place} ({name}) needs "sources", a list of paths')
    if not isinstance(parameters, dict):
        raise ValueError(f'{path}: {place} ({name}): "parameters" must be an object')
    content = entry.get("content")
    if content is not None and not (isinstance(content, str) and content):
        raise ValueError(f'{path}: {place} ({name}): "content" must be a path')
    return Task(name, tuple(path.parent / one for one in sources), parameters, content and path.parent / content)


def is_folder_name(name: str) -> bool:
    """Whether `name` names one visible folder: no separators, no control characters, no leading dot."""
    return bool(name) and name.isprintable() and not name.startswith(".") and not set(name) & set("/\\:")
