"""What a plan, a submission and a status say of money."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator import bill, facts, prices
from orchestrator.backends import Backend
from orchestrator.bill import Tariff
from orchestrator.errors import CloudError
from orchestrator.facts import Seen
from orchestrator.job import FREE, Job
from orchestrator.launch import Launch
from orchestrator.manifest import Manifest
from orchestrator.prices import Estimate, Price
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.watch import Watch

REFRESH = "swatch prices --refresh"
BILL_SECONDS = 20.0
"""How long the end of a watch waits for the bill."""


class Quote(NamedTuple):
    """What new jobs will cost. `pace` is seconds a task, None while nothing was learned; `estimate` is None where the
    price is not known, and so is `price` then: that of one of the machines is missing, `unpriced`."""

    jobs: int
    machine: str
    region: str
    price: Price | None
    pace: float | None
    estimate: Estimate | None
    max_cost: float | None
    unpriced: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """For programs; USD."""
        return {
            "machine": self.machine,
            "region": self.region,
            "usd_per_hour": self.price.usd_per_hour if self.price else None,
            "certain": bool(self.price and self.price.certain),
            "seconds_per_task": self.pace,
            "expected": self.estimate.expected if self.estimate else None,
            "worst": self.estimate.worst if self.estimate else None,
            "worst_per_job": self.estimate.worst / self.jobs if self.estimate and self.jobs else None,
            "max_cost": self.max_cost,
        }

    def sentences(self) -> list[str]:
        """For people, a line each."""
        if self.price is None or self.estimate is None:
            which = ", ".join(self.unpriced) or self.machine
            return [f"Cost: what {which} costs in {self.region} is not known. Read it:  {REFRESH}"]
        rate = f"{self.machine} at {_rate(self.price, self.region)}"
        each = usd(self.estimate.worst / self.jobs)
        if self.estimate.expected is None:
            expected = "How long such tasks take is not known yet"
        else:
            expected = f"About {usd(self.estimate.expected)}, at {self.pace:.0f} s a task as in past jobs"
        worst = f"{usd(self.estimate.worst)} at most ({each} a job, should each run max_runtime)"
        return [f"Cost: {rate}", f"{expected}; {worst}"]


def shown(amount: float | None) -> str:
    """What a job has cost; of a machine whose price nobody knows, that."""
    return "its machine's price is not known" if amount is None else usd(amount)


def usd(amount: float) -> str:
    """`1.41 USD`; of less than ten cents, more digits."""
    return f"{amount:.2f} USD" if amount >= 0.1 or not amount else f"{amount:.4f} USD"


def quote(
    store: Store, settings: Settings, manifest: Manifest, jobs: Sequence[Job], seen: Sequence[Seen]
) -> Quote | None:
    """What the new jobs will cost; None for those that cost nothing."""
    if not jobs or jobs[0].backend in FREE:
        return None
    rates = bill.tariff(settings)
    price, like = rates.price(jobs[0]), jobs[0]
    estimate, pace = None, None
    if price is not None:
        pace = bill.pace(store, seen, like)
        packing = [len(job.tasks) for job in jobs]
        warm = 0 if like.spot else rates.keep_alive
        estimate = prices.estimate(packing, pace, like.max_runtime, price, warm)
    machine = price.machine if price else like.machine
    unpriced = tuple(name for name, one in rates.each(like).items() if one is None)
    return Quote(len(jobs), machine, rates.region, price, pace, estimate, manifest.max_cost, unpriced)


def hourly(settings: Settings, job: Job) -> str:
    """What an hour of a job costs, as `priced` says it; where it cannot be known, why."""
    if job.backend in FREE:
        return "free"
    try:
        return priced(bill.tariff(settings), job)
    except CloudError as error:
        return f"not known: {error.message}\n{error.hint or ''}".rstrip()


def priced(rates: Tariff, job: Job) -> str:
    """A line for each machine that a job may get, the one that is asked for first at the top, with what an hour of it
    costs; what to type where that is not known. Pure."""
    each = rates.each(job)
    lines = [f"{name}: {_rate(one, rates.region)}" for name, one in each.items()]
    rest = [f"if sold out, {line}" for line in lines[1:]]
    unknown = [f"{REFRESH} reads what is not known"] if None in each.values() else []
    return "\n".join([lines[0], *rest, *unknown])


def _rate(price: Price | None, region: str) -> str:
    if price is None:
        return f"not known in {region}"
    return f"{'' if price.certain else 'about '}{price.usd_per_hour:.4g} USD/h ({region}, {price.date})"


def bill_of(store: Store, settings: Settings, backend: Backend, watch: Watch) -> str:
    """What the jobs in view have cost, as far as they are billed; empty where nothing is paid for. A bill comes a
    little after a job's end: so long it is waited for."""
    jobs = [view.job for view in watch.jobs.values() if view.job.backend not in FREE]
    if not jobs:
        return ""
    end = time.monotonic() + BILL_SECONDS
    names = [(job.project, job.number) for job in jobs]
    seen = facts.see_each(store, backend, names)
    while not backend.settled([one.job for one in seen if one.final is not None]) and time.monotonic() < end:
        time.sleep(1)
        seen = facts.see_each(store, backend, names)
    found = costs(store, settings, seen, time.time())
    known = [cost for cost in found.values() if cost is not None]
    total = usd(sum(known)) + (" and more" if len(known) < len(found) else "")
    if not known:
        return f"Cost: what the machines cost is not known; {REFRESH} reads it"
    settled = backend.settled(jobs)
    launches = [one for project in {job.project for job in jobs} for one in _of(store, project, jobs)]
    spot = [one for one in launches if one.spot and one.seconds]
    spared = 1 - sum(one.billable for one in spot) / sum(one.seconds for one in spot) if spot else 0.0
    saving = f"; spot saved {spared:.0%}" if spared > 0 else ""
    return f"{'Billed' if settled else 'Cost so far, about'}: {total}{saving}"


def _of(store: Store, project: str, jobs: Sequence[Job]) -> list[Launch]:
    numbers = {job.number for job in jobs if job.project == project}
    return [one for number, some in bill.launches(store, project).items() if number in numbers for one in some]


def costs(store: Store, settings: Settings, seen: Sequence[Seen], now: float) -> dict[str, float | None]:
    """USD that each job has cost so far, by its short name; without those that cost nothing, and where the cloud cannot
    even be named, without any."""
    paid = [one for one in seen if one.job.backend not in FREE]
    if not paid:
        return {}
    try:
        rates: Tariff = bill.tariff(settings)
    except CloudError:
        return {}
    ended = {project: bill.launches(store, project) for project in sorted({one.job.project for one in paid})}
    return {one.job.short: bill.spent(one, ended[one.job.project].get(one.job.number, ()), rates, now) for one in paid}
