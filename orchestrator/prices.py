"""What machines cost, and what jobs will. Pure, beyond reading two files: the dated table that comes with Swatch, and
what `swatch prices --refresh` has kept of AWS' Price List.

A machine without a price has none: nothing here ever stands in for it, least of all 0. A price that no list vouches for
is marked uncertain: good for an estimate, not for a promise.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from orchestrator import contract, decoder, machines
from orchestrator.errors import UsageError
from orchestrator.job import Final, Job

FILE = "prices.json"
"""In SWATCH_HOME: prices as AWS gave them, by region. In the package: those that come with Swatch."""

MAX_BYTES = 4 << 20
MAX_RATE = 10_000.0
"""USD an hour: more is damage (the dearest machine is at about a hundredth)."""

SIMILAR = 2.0
"""Two textures are of a similar size where neither has more than so many times the other's pixels."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What an hour of a machine costs in a region, on demand, as a training job. `date` is when the figure was read."""

    region: str
    machine: str
    usd_per_hour: float
    date: str
    source: str
    certain: bool = True

    @property
    def usd_per_second(self) -> float:
        """SageMaker bills by the second (BillableTimeInSeconds)."""
        return self.usd_per_hour / 3600


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A file of prices. `read` is when it was got from AWS, in seconds since 1970, for each region."""

    schema: int = contract.SCHEMA
    prices: tuple[Price, ...] = ()
    read: dict[str, float] = {}


Known = Mapping[tuple[str, str], Price]
"""Prices by region and machine."""


class Estimate(NamedTuple):
    """USD. `expected` is None while nothing was learned of such jobs."""

    expected: float | None
    worst: float


def known(home: Path | None = None) -> Known:
    """Every price there is: those that come with Swatch, and over them those that were read from AWS into `home`."""
    found = dict(_packaged())
    if home is not None:
        found.update(((price.region, price.machine), price) for price in refreshed(home).prices)
    return found


def refreshed(home: Path) -> Table:
    """What was read from AWS into `home`; empty where nothing was, or the file is damaged (it can be read anew)."""
    try:
        with open(home / FILE, "rb") as file:
            return decoded(file.read(MAX_BYTES + 1))
    except (OSError, ValueError):
        return Table()


def decoded(data: bytes) -> Table:
    """The prices of a file. Raises ValueError for one that is damaged, too large or of a later version."""
    if len(data) > MAX_BYTES:
        raise ValueError("too large")
    table = decoder.from_json(data, Table)
    if table.schema > contract.SCHEMA:
        raise ValueError("written by a later version of Swatch")
    if not all(0 < price.usd_per_hour <= MAX_RATE for price in table.prices):
        raise ValueError("a price that is none")
    return table


def rate(machine: str, region: str, table: Known | None = None) -> Price | None:
    """What an hour of a machine (or of the first that an alias stands for) costs; None where nobody knows."""
    name = machines.expand([machine])[0]
    return (known() if table is None else table).get((region, name))


def dearest(prices: Collection[Price | None]) -> Price | None:
    """The price that holds whichever of the machines a job gets; None if one of them has none. Uncertain if one is."""
    found = [price for price in prices if price is not None]
    if not found or len(found) < len(prices):
        return None
    highest = max(found, key=lambda price: price.usd_per_hour)
    return msgspec.structs.replace(highest, certain=all(price.certain for price in found))


def estimate(
    packing: Sequence[int], seconds_per_task: float | None, max_runtime: int, price: Price, keep_alive: int = 0
) -> Estimate:
    """What jobs with so many tasks each will cost. At worst each runs until it is stopped (`max_runtime` seconds), and
    its machine then waits for `keep_alive` seconds more, for warm pools are paid."""
    most = max_runtime + keep_alive
    worst = len(packing) * most * price.usd_per_second
    if seconds_per_task is None:
        return Estimate(None, worst)
    seconds = sum(min(tasks * seconds_per_task, max_runtime) for tasks in packing)
    return Estimate(seconds * price.usd_per_second, worst)


def learned(past: Iterable[tuple[Job, Final]], like: Job) -> float | None:
    """Seconds that a task of `like` will take: the median over jobs of the past that were like it; None without one.

    Like it are jobs that succeeded on the same machine, with the same methods, and of a similar size; for commands,
    those of the same project. What a job spends before its first task is shared among its tasks.
    """
    wanted = _kind(like)
    paces = [
        final.seconds / len(job.tasks)
        for job, final in past
        if final.state == contract.SUCCESS and job.tasks and final.seconds > 0 and _alike(_kind(job), wanted)
    ]
    return statistics.median(paces) if paces else None


def affordable(worst: Sequence[float | None], max_cost: float | None, committed: float | None = 0.0) -> int:
    """How many of the new jobs may be submitted, in their order, so that even the worst case stays within `max_cost`.

    `worst` holds each job's worst case in USD, `committed` what was spent already and what running jobs may yet spend
    at worst; None means that nobody knows. Without a cap all may. Raises UsageError where a cap meets an unknown price:
    a promise cannot rest on it.
    """
    if max_cost is None:
        return len(worst)
    if committed is None or None in worst:
        raise UsageError(
            f"max_cost is {max_cost:g} USD, and of a machine no certain price is known",
            hint="swatch prices --refresh, or name another machine",
        )
    total = committed
    for count, one in enumerate(worst):
        total += one or 0.0
        if total > max_cost * (1 + 1e-9):  # sums of cents are not exact
            return count
    return len(worst)


def promised(price: Price | None, seconds: float) -> float | None:
    """What so many seconds cost for `affordable`: None for a price that is unknown or uncertain."""
    return price.usd_per_second * seconds if price is not None and price.certain else None


class _Kind(NamedTuple):
    machine: str
    methods: frozenset[str]
    pixels: float


def _kind(job: Job) -> _Kind:
    if any(task.command is not None for task in job.tasks) or not job.tasks:
        return _Kind(job.machine, frozenset({f"command of {job.project}"}), 1.0)
    pixels = [_number(task.parameters, "width") * _number(task.parameters, "height") for task in job.tasks]
    methods = frozenset(str(task.parameters.get("method")) for task in job.tasks)
    return _Kind(job.machine, methods, max(1.0, statistics.mean(pixels)))


def _number(parameters: Mapping[str, Any], name: str) -> float:
    value = parameters.get(name)
    return float(value) if isinstance(value, int | float) else 1.0


def _alike(one: _Kind, other: _Kind) -> bool:
    ratio = one.pixels / other.pixels
    return one[:2] == other[:2] and 1 / SIMILAR <= ratio <= SIMILAR


@functools.cache
def _packaged() -> Known:
    table = decoded((files("orchestrator") / FILE).read_bytes())
    return {(price.region, price.machine): price for price in table.prices}
