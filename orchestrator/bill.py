"""What jobs have cost and may yet cost: launches that have ended, and machines that run, at the rates of a region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from orchestrator import contract, decoder, facts, launch, machines, prices
from orchestrator.errors import NotFound, StoreError, UsageError
from orchestrator.facts import Seen
from orchestrator.job import FREE, Final, Job
from orchestrator.launch import Launch
from orchestrator.prices import Known, Price
from orchestrator.settings import Settings
from orchestrator.store import Store, crowd

OTHERS = 50
"""Jobs of other projects that are looked at for how long textures take."""

Launches = dict[int, list[Launch]]
"""By the number of their job, in order."""


class Tariff(NamedTuple):
    """What there is to know to reckon: the region jobs run in, its prices, and how long machines are kept warm."""

    region: str
    table: Known
    keep_alive: int = 0

    def price(self, job: Job) -> Price | None:
        """The price that holds whichever of its machines the job gets; None where nobody knows."""
        return prices.dearest(list(self.each(job)), self.region, self.table)

    def each(self, job: Job) -> dict[str, Price | None]:
        """The machines that the job may get, in the order in which they are asked for, and what each costs."""
        types = machines.expand([job.machine, *job.fallbacks])
        return {one: prices.rate(one, self.region, self.table) for one in types}

    def worst(self, job: Job) -> float | None:
        """USD that one launch of the job may cost at most; None unless the price is known and certain."""
        if job.backend in FREE:
            return 0.0
        return prices.promised(self.price(job), job.max_runtime + (0 if job.spot else self.keep_alive))


def tariff(settings: Settings) -> Tariff:
    """The tariff of the configured region. Raises CloudError where none is configured."""
    from orchestrator import aws

    return Tariff(aws.region(), prices.known(settings.home), settings.aws.keep_alive)


def launches(store: Store, project: str, number: int | None = None) -> Launches:
    """The launches of a project's jobs (or of one of them) that have ended. One that cannot be read is left out."""
    prefix = contract.launches_prefix(project)
    keys = [entry.key for entry in store.scan(prefix, f"{prefix}{number}-" if number else "")]
    if number is not None:
        keys = [key for key in keys if key.startswith(f"{prefix}{number}-")]
    found: Launches = {}
    for one in crowd.each(lambda key: _read(store, key), keys, store.width):
        if one is not None and one.project == project:
            found.setdefault(one.number, []).append(one)
    return {number: _each_once(some) for number, some in found.items()}


def _each_once(found: Iterable[Launch]) -> list[Launch]:
    """In order. Two computers may have told different ends of one launch, if just then the job was stopped; it is paid
    once, and that nothing follows holds."""
    by_launch = {one.launch: one for one in sorted(found, key=lambda one: not one.again)}
    return [by_launch[launch] for launch in sorted(by_launch)]


def _read(store: Store, key: str) -> Launch | None:
    try:
        return decoder.from_json(store.read(key), Launch)
    except (msgspec.DecodeError, NotFound):
        return None


def spent(one: Seen, ended: Sequence[Launch], rates: Tariff, now: float) -> float | None:
    """USD that a job has cost until `now`: what was billed, and the machine that runs. None where it is not known."""
    if one.job.backend in FREE:
        return 0.0
    billed = launch.total(ended)
    if one.final is not None:
        # The agent's last word comes a little before the bill.
        return billed if launch.billed(ended) else _at_least(billed, _running(one, rates, now))
    return _at_least(billed, _running(one, rates, now))


def _at_least(billed: float | None, running: float | None) -> float | None:
    return None if billed is None or running is None else max(billed, running)


def _running(one: Seen, rates: Tariff, now: float) -> float | None:
    price = rates.price(one.job)
    seconds = one.seconds(now)
    return 0.0 if not seconds else None if price is None else seconds * price.usd_per_second


def committed(seen: Iterable[Seen], ended: Launches, rates: Tariff) -> float | None:
    """USD that jobs have cost, and may yet cost at most; None where a price is not certain."""
    total = 0.0
    for one in seen:
        if one.job.backend in FREE:
            continue
        mine = ended.get(one.job.number, [])
        billed = launch.total(mine)
        # Of a job that has ended and is not billed yet, as of one that runs, the worst is counted.
        over = one.final is not None and (launch.billed(mine) or not one.final.attempts)
        ahead = 0.0 if over else rates.worst(one.job)
        if billed is None or ahead is None:
            return None
        total += billed + ahead
    return total


def pace(store: Store, seen: Sequence[Seen], like: Job) -> float | None:
    """Seconds that a task of such a job takes, learned from past jobs: those of its project, else the latest of others
    in the store; None where there was none like it."""
    past = [(one.job, one.final) for one in seen if one.final is not None]
    found = prices.learned(past, like)
    if found is not None:
        return found
    others = [
        (project, number)
        for project in facts.projects(store)
        if project != like.project
        for number in facts.numbers(store, project)[-OTHERS:]
    ]

    def read(name: tuple[str, int]) -> tuple[Job, Final] | None:
        try:
            final = facts.read_final(store, *name)
            return None if final is None else (facts.read_job(store, *name), final)
        except (NotFound, StoreError):
            return None

    elsewhere = crowd.each(read, others[-OTHERS:], store.width)
    return prices.learned([pair for pair in elsewhere if pair is not None], like)


class Allowance:
    """How many new jobs may start under the manifest's `max_cost`, which covers all that its project ever cost."""

    def __init__(self, store: Store, settings: Settings, max_cost: float | None) -> None:
        self._store, self._settings, self._max_cost = store, settings, max_cost

    def __call__(self, seen: Sequence[Seen], jobs: Sequence[Job]) -> int:
        """See `engine.Wish.afford`. Raises UsageError where a cap meets a price that nobody vouches for."""
        if self._max_cost is None or not jobs or jobs[0].backend in FREE:
            return len(jobs)
        rates = tariff(self._settings)
        ended = launches(self._store, jobs[0].project)
        price = rates.price(jobs[0])
        if price is None or not price.certain:
            machine = price.machine if price else jobs[0].machine
            raise UsageError(
                f"max_cost is {self._max_cost:g} USD, and no certain price of {machine} in {rates.region} is known",
                hint="swatch prices --refresh, or name another machine",
            )
        return prices.affordable([rates.worst(job) for job in jobs], self._max_cost, committed(seen, ended, rates))
