"""What jobs have cost and may yet cost: no try is forgotten under a cap, and none is paid twice."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from orchestrator import bill, contract
from orchestrator.backends import Presence
from orchestrator.bill import Tariff
from orchestrator.cli import money
from orchestrator.facts import Seen
from orchestrator.job import Final, Job
from orchestrator.journal import Fold
from orchestrator.launch import Launch, judge
from orchestrator.prices import Price
from orchestrator.store.local import LocalStore

MACHINE = "ml.g5.xlarge"
HOUR = Price(region="r", machine=MACHINE, usd_per_hour=1.0, date="2026-11-22", source="a test")
RATES = Tariff("r", {("r", MACHINE): HOUR})
JOB = Job(
    project="p", number=1, user="u", created=0.0, command="x", backend="sagemaker", machine=MACHINE, max_runtime=3600
)


def seen(final: Final | None) -> Seen:
    return Seen(JOB, final, Presence.GONE, Fold())


def launch(number: int, usd: float, again: bool) -> Launch:
    return Launch(
        project="p", number=1, launch=number, name=f"n-{number}", status="Failed", billable=3600 * usd, usd=usd,
        again=again, reason="InternalServerError",
    )  # fmt: skip


ENDED = Final(state=contract.SUCCESS, ended=10.0, seconds=1800.0)


@pytest.mark.parametrize(
    ("final", "launches", "usd"),
    [
        (None, [], 1.0),
        (ENDED, [], 1.0),
        (ENDED, [launch(1, 0.25, True)], 1.25),
        (ENDED, [launch(1, 0.25, True), launch(2, 0.5, False)], 0.75),
        (Final(state=contract.SHUTDOWN, ended=10.0, attempts=0), [], 0.0),
    ],
)
def test_the_worst_is_counted_until_the_last_try_is_billed(
    final: Final | None, launches: list[Launch], usd: float
) -> None:
    assert bill.committed([seen(final)], {1: launches}, RATES) == pytest.approx(usd)


def test_the_price_of_a_job_names_the_machine_that_is_asked_for_first_and_what_is_missing() -> None:
    assert money.priced(RATES, JOB) == f"{MACHINE}: 1 USD/h (r, 2026-11-22)"
    dearer = msgspec.structs.replace(HOUR, machine="ml.g4dn.xlarge", usd_per_hour=2.5, certain=False)
    rates = RATES._replace(table={**RATES.table, ("r", "ml.g4dn.xlarge"): dearer})
    assert money.priced(rates, msgspec.structs.replace(JOB, machine="gpu")).splitlines() == [
        f"{MACHINE}: 1 USD/h (r, 2026-11-22)",
        "if sold out, ml.g6.xlarge: not known in r",
        "if sold out, ml.g4dn.xlarge: about 2.5 USD/h (r, 2026-11-22)",
        "swatch prices --refresh reads what is not known",
    ]
    quote = money.Quote(1, "gpu", "r", None, None, None, None, ("ml.g6.xlarge",))
    assert quote.sentences() == ["Cost: what ml.g6.xlarge costs in r is not known. Read it:  swatch prices --refresh"]


def test_a_job_whose_last_try_is_not_billed_yet_has_cost_what_it_ran() -> None:
    assert bill.spent(seen(ENDED), [launch(1, 0.25, True)], RATES, time.time()) == pytest.approx(0.5)
    assert bill.spent(seen(ENDED), [launch(1, 0.25, False)], RATES, time.time()) == pytest.approx(0.25)


def test_a_launch_that_two_computers_saw_end_is_paid_once(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    for again in (True, False):
        store.create(contract.launch_key("p", 1, 1, again), msgspec.json.encode(launch(1, 0.25, again)))
    assert bill.launches(store, "p") == {1: [launch(1, 0.25, False)]}


@pytest.mark.parametrize(("left", "again", "state"), [(60.0, True, "queued"), (59.0, False, "timeout")])
def test_another_try_needs_some_of_the_maximum_runtime(left: float, again: bool, state: str) -> None:
    verdict = judge(launch(1, 0.25, True), [MACHINE], False, left)
    assert (verdict.again, verdict.state) == (again, state)
