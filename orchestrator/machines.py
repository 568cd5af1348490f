"""Kinds of machine: what `cpu` and `gpu` stand for, and what is known of an instance type. Pure.

Facts are those of EC2's DescribeInstanceTypes for the same type without the `ml.` (GPU memory as the driver shows it);
ml.p2 and ml.p3 are from EC2's instance pages. Prices are elsewhere: see `prices`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

ALIASES: dict[str, tuple[str, ...]] = {
    "cpu": ("ml.m5.xlarge",),
    "cpu2": ("ml.m5.2xlarge",),
    # One GPU of at least 16 GiB each; the second and third are for when the first has no capacity.
    "gpu": ("ml.g5.xlarge", "ml.g6.xlarge", "ml.g4dn.xlarge"),
    # The stronger one, of 32 GiB or more.
    "gpu2": ("ml.g6e.xlarge", "ml.g7.2xlarge"),
}
"""The words that a manifest may say instead of an instance type, in order of preference; FloydHub's four."""

MOST = 5
"""Machines that a manifest may list, and that one request can prefer (CreateTrainingJob, InstancePreferences)."""


class Machine(NamedTuple):
    """What is known of an instance type. `gpu_memory` is GiB of each GPU. With `local_storage` it has disks of its own:
    they are encrypted by the hardware, and no key can be named for them."""

    name: str
    gpus: int = 0
    gpu: str = ""
    gpu_memory: float = 0.0
    local_storage: bool = False


class _Family(NamedTuple):
    gpu: str
    memory: float
    counts: dict[str, int]  # of the sizes that have another number of GPUs than one
    local_storage: bool = True


_FOUR_EIGHT = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
_TWO_FOUR_EIGHT = {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8}
_GPUS = {
    "p2": _Family("K80", 12.0, {"8xlarge": 8, "16xlarge": 16}, local_storage=False),
    "p3": _Family("V100", 16.0, {"8xlarge": 4, "16xlarge": 8}, local_storage=False),
    "p3dn": _Family("V100", 32.0, {"24xlarge": 8}),
    "p4d": _Family("A100", 40.0, {"24xlarge": 8}),
    "p4de": _Family("A100", 80.0, {"24xlarge": 8}),
    "p5": _Family("H100", 80.0, {"48xlarge": 8}),
    "p5e": _Family("H200", 141.0, {"48xlarge": 8}),
    "p5en": _Family("H200", 141.0, {"48xlarge": 8}),
    "p6-b200": _Family("B200", 179.1, {"48xlarge": 8}),
    "p6-b300": _Family("B300", 268.6, {"48xlarge": 8}),
    "g4dn": _Family("T4", 16.0, {"12xlarge": 4}),
    "g5": _Family("A10G", 22.4, _FOUR_EIGHT),
    "g6": _Family("L4", 22.4, _FOUR_EIGHT),
    "g6e": _Family("L40S", 44.7, _FOUR_EIGHT),
    "g7": _Family("RTX PRO 4500", 32.0, _TWO_FOUR_EIGHT),
    "g7e": _Family("RTX PRO 6000", 96.0, _TWO_FOUR_EIGHT),
}
_PLAIN = re.compile(r"[mcrt][0-9][a-z]*(-flex)?")
_DISKS = frozenset({"r5d"})
_TYPE = re.compile(r"ml\.(?P<family>[a-z0-9-]+)\.(?P<size>[a-z0-9]+)")


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Instance types for the words of a manifest, in order, each once: `gpu` becomes what it stands for."""
    types = [one for name in names for one in ALIASES.get(name, (name,))]
    return tuple(dict.fromkeys(types))


def known(name: str) -> Machine | None:
    """What is known of an instance type (`ml.g5.xlarge`), or of the first that an alias stands for; None of another."""
    name = ALIASES.get(name, (name,))[0]
    found = _TYPE.fullmatch(name)
    if not found:
        return None
    family = found["family"]
    if family in _GPUS:
        gpu, memory, counts, local = _GPUS[family]
        return Machine(name, counts.get(found["size"], 1), gpu, memory, local)
    return Machine(name, local_storage=family in _DISKS) if _PLAIN.fullmatch(family) else None
