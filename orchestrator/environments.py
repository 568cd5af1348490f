"""Environments: what `--env` names. Each is a framework of a version, and on SageMaker an image that AWS maintains.

The versions are those of AWS' deep-learning containers for training ("Available Deep Learning Containers Images"), as
the SageMaker SDK's own data lists them. FloydHub's names of 2017 to 2020 are known, and lead to what is nearest today.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.errors import UsageError
from orchestrator.shape import unknown

DEFAULT = "tensorflow-2.21"


class Environment(NamedTuple):
    """A framework (`tensorflow`), its version (`2.21`) and Python (`py312`), as parts of an image's name."""

    framework: str
    version: str
    python: str

    @property
    def name(self) -> str:
        return f"{self.framework}-{self.version}"


ALL: dict[str, Environment] = {
    one.name: one
    for one in (
        Environment("tensorflow", "2.21", "py312"),
        Environment("tensorflow", "2.19", "py312"),
        Environment("tensorflow", "2.18", "py310"),
        Environment("tensorflow", "2.16", "py310"),
        Environment("tensorflow", "2.14", "py310"),
        Environment("pytorch", "2.10", "py313"),
        Environment("pytorch", "2.9", "py312"),
        Environment("pytorch", "2.8", "py312"),
        Environment("pytorch", "2.7", "py312"),
        Environment("pytorch", "2.6", "py312"),
        Environment("pytorch", "2.5", "py311"),
    )
}
"""By name, the newest of each framework first."""
_OLD = {
    "tensorflow": "tensorflow-2.21",
    "keras": "tensorflow-2.21",
    "default": "tensorflow-2.21",
    "base": "tensorflow-2.21",
    "pytorch": "pytorch-2.10",
    "torch": "pytorch-2.10",
}
"""FloydHub's frameworks (with any version, and `:py2` or not), and what stands in for them."""
_OLD_NAME = re.compile(r"(?P<framework>[a-z]+)(?:-[0-9.]+)?(?::py[0-9])?")


class Chosen(NamedTuple):
    """An environment, and if it stands in for another, the sentence that says so."""

    environment: Environment
    note: str = ""


def find(name: str) -> Chosen:
    """The environment of that name. Raises UsageError with all names for one that nobody knows."""
    if name in ALL:
        return Chosen(ALL[name])
    old = _OLD_NAME.fullmatch(name)
    instead = _OLD.get(old["framework"]) if old else None
    if instead is None or (old and _newer(name, instead)):
        raise UsageError(
            f"{name} is not in the list of supported environments: {', '.join(ALL)}",
            hint=unknown("environment", name, ALL),
        )
    return Chosen(ALL[instead], f"The environment {name} is FloydHub's, and gone; {instead} stands in for it")


def _newer(name: str, instead: str) -> bool:
    """Whether the name is of a version that FloydHub never had: then it is a slip of the pen, not an old name."""
    found = re.search(r"-([0-9]+)", name)
    return found is not None and int(found[1]) >= 2
