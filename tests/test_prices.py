"""What machines cost and what jobs will: the promise of a cap above all."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import pricelist, prices
from orchestrator.errors import SwatchError, UsageError
from orchestrator.job import Final, Job, Task
from orchestrator.prices import Price, Table
from tests.aws_stub import Stub, serving
from tests.conftest import Box
from tests.terminal import Terminal


def price(hourly: float, machine: str = "ml.g5.xlarge", region: str = "us-west-2", certain: bool = True) -> Price:
    return Price(
        region=region, machine=machine, usd_per_hour=hourly, date="2026-01-01", source="a test", certain=certain
    )


def test_the_table_that_comes_with_swatch() -> None:
    found = prices.rate("ml.g5.xlarge", "us-west-2")
    assert found is not None
    assert (found.usd_per_hour, found.certain) == (1.408, True)
    assert found.date >= "2026"
    assert found.source
    assert prices.rate("gpu", "us-west-2") == found
    assert all(one.date and one.source for one in prices.known().values())


@pytest.mark.parametrize(("machine", "region"), [("ml.zz.1", "us-west-2"), ("ml.g5.xlarge", "mars-1"), ("", "")])
def test_an_unknown_machine_has_no_price_and_not_zero(machine: str, region: str) -> None:
    assert prices.rate(machine, region) is None
    assert prices.dearest(["ml.g5.xlarge", machine], region) is None


def test_the_dearest_machine_of_a_list_counts() -> None:
    table = {
        ("r", "ml.a.1"): price(1.0, "ml.a.1", "r"),
        ("r", "ml.b.1"): price(3.0, "ml.b.1", "r"),
        ("r", "ml.c.1"): price(2.0, "ml.c.1", "r", certain=False),
    }
    assert prices.dearest(["ml.a.1", "ml.b.1"], "r", table) == table["r", "ml.b.1"]
    doubtful = prices.dearest(["ml.b.1", "ml.c.1"], "r", table)
    assert doubtful is not None
    assert (doubtful.usd_per_hour, doubtful.certain) == (3.0, False)
    assert prices.dearest([], "r", table) is None


def test_an_estimate_and_the_worst_case() -> None:
    made = prices.estimate([16, 16, 4], 60.0, 3600, price(3.6))
    assert made.expected == pytest.approx(36 * 60 * 0.001)
    assert made.worst == pytest.approx(3 * 3600 * 0.001)
    kept = prices.estimate([1], None, 3600, price(3.6), keep_alive=600)
    assert kept.expected is None
    assert kept.worst == pytest.approx(4200 * 0.001)
    assert prices.estimate([], 60.0, 3600, price(3.6)) == (0, 0)


@given(
    st.lists(st.integers(1, 1000), max_size=20),
    st.floats(0, 1e5),
    st.integers(1, 2_419_200),
    st.floats(0.01, 100),
    st.integers(0, 21_600),
)
def test_nothing_is_expected_to_cost_more_than_the_worst(
    packing: list[int], pace: float, longest: int, hourly: float, keep: int
) -> None:
    made = prices.estimate(packing, pace, longest, price(hourly), keep)
    assert made.expected is not None
    assert 0 <= made.expected <= made.worst * (1 + 1e-9)


amounts = st.floats(0, 1e4)


@given(st.lists(amounts, max_size=30), st.floats(0.01, 1e5), amounts)
def test_a_cap_is_never_passed_and_never_wasted(worst: list[float], cap: float, committed: float) -> None:
    count = prices.affordable(worst, cap, committed)
    slack = cap * 1e-6
    assert not count or committed + sum(worst[:count]) <= cap + slack
    if count < len(worst):
        assert committed + sum(worst[: count + 1]) > cap - slack


def test_without_a_cap_everything_may_be_submitted_even_at_an_unknown_price() -> None:
    assert prices.affordable([1.0, None, 3.0], None, None) == 3


@pytest.mark.parametrize(("worst", "committed"), [([1.0, None], 0.0), ([1.0], None)])
def test_an_unknown_price_is_refused_under_a_cap(worst: list[float | None], committed: float | None) -> None:
    with pytest.raises(UsageError, match="no certain price") as caught:
        prices.affordable(worst, 100.0, committed)
    assert caught.value.hint is not None and "--refresh" in caught.value.hint


def test_a_promise_rests_on_certain_prices_only() -> None:
    assert prices.promised(price(3.6), 1000) == pytest.approx(1.0)
    assert prices.promised(price(3.6, certain=False), 1000) is None
    assert prices.promised(None, 1000) is None


def ended(seconds: float, tasks: int, state: str = "success", **changed: Any) -> tuple[Job, Final]:
    given_: dict[str, Any] = {"method": "patch", "width": 256, "height": 256, **changed.pop("parameters", {})}
    made = tuple(Task(name=f"t{n}", fingerprint="", parameters=given_) for n in range(tasks))
    base: dict[str, Any] = {"project": "p", "number": 1, "user": "u", "created": 0.0, "command": "c", "tasks": made}
    return Job(**{**base, **changed}), Final(state=state, ended=1.0, seconds=seconds)


def test_the_pace_is_learned_from_jobs_that_were_alike() -> None:
    like = ended(0, 5)[0]
    past = [
        ended(100, 10),  # 10 s each
        ended(60, 5),  # 12 s each
        ended(64, 4),  # 16 s each
        ended(1, 10, state="failed"),
        ended(900, 1, machine="gpu"),
        ended(900, 1, parameters={"method": "swatch"}),
        ended(900, 1, parameters={"width": 1024}),
    ]
    assert prices.learned(past, like) == 12.0
    assert prices.learned(past, ended(0, 1, parameters={"width": 8192})[0]) is None
    assert prices.learned([], like) is None


def test_a_command_learns_from_its_own_project() -> None:
    def command(project: str, seconds: float) -> tuple[Job, Final]:
        job, final = ended(seconds, 1, project=project)
        return msgspec.structs.replace(job, tasks=(Task(name="x", fingerprint="", command="make"),)), final

    past = [command("sweep", 30), command("other", 500), ended(7, 1)]
    assert prices.learned(past, command("sweep", 0)[0]) == 30


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, bucket: str) -> Iterator[Stub]:
    """A price list where this process' clients look for one."""
    with serving() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", stub.url)
        yield stub


def product(machine: str, hourly: object, **changed: Any) -> str:
    attributes = {"instanceName": machine, "component": "Training", "regionCode": "eu-west-1", **changed}
    dimension = {"unit": changed.get("unit", "Hrs"), "pricePerUnit": {"USD": hourly}}
    return json.dumps(
        {"product": {"attributes": attributes}, "terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}}
    )


def test_refreshing_asks_for_every_page_once_a_day(stub: Stub, tmp_path: Path) -> None:
    pages = {
        None: ([product("ml.g5.xlarge", "1.5700000000")], "two"),
        "two": ([product("ml.m5.xlarge", "0.2570000000")], None),
    }

    def answer(members: dict[str, Any]) -> Any:
        listed, token = pages[members.get("NextToken")]
        return {"PriceList": listed, **({"NextToken": token} if token else {})}

    stub.answers["GetProducts"] = answer
    _, asked = pricelist.refresh(tmp_path, "eu-west-1", now=1.8e9)
    assert asked
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
        {"Type": "TERM_MATCH", "Field": "component", "Value": "Training"},
    ]
    first = {"ServiceCode": "AmazonSageMaker", "FormatVersion": "aws_v1", "MaxResults": 100, "Filters": filters}
    assert stub.asked == [("GetProducts", first), ("GetProducts", {**first, "NextToken": "two"})]
    found = prices.rate("ml.g5.xlarge", "eu-west-1", prices.known(tmp_path))
    assert found == Price(
        region="eu-west-1", machine="ml.g5.xlarge", usd_per_hour=1.57, date="2027-01-15", source="AWS Price List API"
    )
    assert prices.rate("ml.g5.xlarge", "us-west-2", prices.known(tmp_path)) == prices.rate("ml.g5.xlarge", "us-west-2")

    assert not pricelist.refresh(tmp_path, "eu-west-1", now=1.8e9 + 86_000)[1]
    assert len(stub.asked) == 2
    assert pricelist.refresh(tmp_path, "eu-west-1", now=1.8e9 + 87_000)[1]
    assert pricelist.refresh(tmp_path, "eu-west-1", now=1.8e9)[1], "a date in the future is not believed"


def test_a_second_region_leaves_the_first(stub: Stub, tmp_path: Path) -> None:
    stub.answers["GetProducts"] = lambda members: {
        "PriceList": [product("ml.g5.xlarge", "1.5", regionCode=members["Filters"][0]["Value"])]
    }
    pricelist.refresh(tmp_path, "eu-west-1", now=1.8e9)
    pricelist.refresh(tmp_path, "eu-west-2", now=1.8e9)
    assert {price.region for price in prices.refreshed(tmp_path).prices} == {"eu-west-1", "eu-west-2"}


def test_an_empty_list_is_no_price_list(stub: Stub, tmp_path: Path) -> None:
    stub.answers["GetProducts"] = lambda _: {"PriceList": [product("ml.g5.xlarge", "0.0"), "{", "[]", "7"]}
    with pytest.raises(SwatchError, match="lists no price"):
        pricelist.refresh(tmp_path, "eu-west-1", now=1.8e9)
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_a_sentence(stub: Stub, tmp_path: Path) -> None:
    stub.answers["GetProducts"] = lambda _: (400, "AccessDeniedException", "no pricing:GetProducts")
    with pytest.raises(SwatchError, match="price list"):
        pricelist.refresh(tmp_path, "eu-west-1")


@pytest.mark.parametrize(
    "text",
    [
        product("ml.g5.xlarge", "0"), product("ml.g5.xlarge", "-1"), product("ml.g5.xlarge", "NaN"),
        product("ml.g5.xlarge", "inf"), product("ml.g5.xlarge", "1e9"), product("ml.g5.xlarge", None),
        product("ml.g5.xlarge", "1.4", component="Hosting"), product("ml.g5.xlarge", "1.4", regionCode="us-east-1"),
        product("ml.g5.xlarge", "1.4", unit="GB"), product("g5.xlarge", "1.4"), product("ml." + "x" * 99, "1.4"),
        "", "null", '{"product": {}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_price_of_a_training_machine_is_passed_over(text: str) -> None:
    assert list(pricelist.read([text], "eu-west-1", "2026-01-01")) == []


@given(st.lists(st.text() | st.builds(product, st.text(), st.text() | st.floats() | st.none()), max_size=3))
def test_reading_a_list_never_raises(listed: list[str]) -> None:
    assert all(0 < one.usd_per_hour < 1e5 for one in pricelist.read(listed, "eu-west-1", "2026-01-01"))


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": 99}', b'{"prices": [{"machine": 1}]}', b"[]", b"\xff" * 9])
def test_a_damaged_file_is_as_if_there_were_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / prices.FILE).write_bytes(damage)
    assert prices.known(tmp_path) == prices.known()


def test_a_price_of_nothing_in_the_file_is_damage(tmp_path: Path) -> None:
    table = prices.Table(prices=(price(0.0),))
    (tmp_path / prices.FILE).write_bytes(msgspec.json.encode(table))
    assert prices.refreshed(tmp_path).prices == ()


def test_the_verb_lists_what_is_known(box: Box) -> None:
    text = box.swatch("prices", "--region", "us-west-2")
    assert "ml.g5.xlarge" in text and "1.408" in text and "~0.7364" in text
    assert "us-east-1" not in text
    listed = box.json("prices")["prices"]
    assert {"region": "us-west-2", "machine": "ml.g5.xlarge", "usd_per_hour": 1.408} in [
        {key: one[key] for key in ("region", "machine", "usd_per_hour")} for one in listed
    ]
    assert "--refresh" in box.swatch("prices", "--region", "mars-1")


def test_on_a_terminal_of_80_columns_each_machine_has_one_line(box: Box) -> None:
    box.home.mkdir()
    widest = price(113.9, "ml.p6-b200.48xlarge", "ap-southeast-1")
    (box.home / prices.FILE).write_bytes(msgspec.json.encode(Table(prices=(widest,))))
    words = [sys.executable, "-m", "orchestrator", "prices"]
    with Terminal(words, {**box.environment, "COLUMNS": "80"}, box.folder) as terminal:
        shown = click.unstyle(terminal.until("a test")).splitlines()
    assert max(map(len, shown)) <= 80
    assert len([line for line in shown if re.match(r"ml\.\S+ +\S+-\d +~?[0-9.]+ .* \d+ *$", line)]) == len(
        prices.known(box.home)
    )
    assert any(
        re.fullmatch(r"ml\.p6-b200\.48xlarge +ap-southeast-1 +113\.9 +8 x B200 179 GiB +1 *", line) for line in shown
    )


def test_the_verb_refreshes(box: Box, stub: Stub) -> None:
    import os

    stub.answers["GetProducts"] = lambda _: {"PriceList": [product("ml.g5.xlarge", "1.5", regionCode="us-east-1")]}
    box.environment.update((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    assert "1.5" in box.swatch("prices", "--refresh")
    assert "not asked again" in box.swatch("prices", "--refresh")
    assert len(stub.asked) == 1
