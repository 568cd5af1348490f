"""AWS' Price List, read into SWATCH_HOME: what each machine costs as a training job (API reference, GetProducts)."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from orchestrator import aws, prices
from orchestrator.errors import CloudError, SwatchError
from orchestrator.prices import Price, Table

FRESH = 86_400
"""Seconds for which what was read counts as fresh, and AWS is not asked again."""

ENDPOINT_REGION = "us-east-1"
"""The Price List is served from a few regions only, for all of them (User Guide, "Using the Price List Query API")."""

_PAGE = 100
_MOST_PAGES = 200


def refresh(home: Path, region: str, now: float | None = None) -> tuple[Table, bool]:
    """Prices of the region, and whether AWS was asked: what is younger than a day is taken from `home`. Raises
    CloudError and its kin, and SwatchError when nothing usable came."""
    now = time.time() if now is None else now
    table = prices.refreshed(home)
    if 0 <= now - table.read.get(region, 0.0) < FRESH:
        return table, False
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    found = {price.machine: price for price in read(_products(region), region, date)}
    if not found:
        raise SwatchError(f"AWS lists no price of training machines in {region}", hint="Check the region's name")
    others = [price for price in table.prices if price.region != region]
    made = Table(prices=(*others, *(found[name] for name in sorted(found))), read={**table.read, region: now})
    _write(home / prices.FILE, msgspec.json.encode(made))
    return made, True


def read(products: Iterable[str], region: str, date: str) -> Iterator[Price]:
    """The prices of training machines that GetProducts' JSON texts tell. What is of another kind, damaged or without a
    price is passed over: of such a machine nothing is known. Of several prices of a machine the highest comes last."""
    found: list[Price] = []
    for text in products:
        try:
            product = json.loads(text)
            told = product["product"]["attributes"]
            if told.get("component") != "Training" or told.get("regionCode", region) != region:
                continue
            machine = str(told["instanceName"])
            dimensions = [
                one for term in product["terms"]["OnDemand"].values() for one in term["priceDimensions"].values()
            ]
            hourly = [float(one["pricePerUnit"]["USD"]) for one in dimensions if one["unit"] in ("Hrs", "Hours")]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        found += [
            Price(region=region, machine=machine, usd_per_hour=one, date=date, source="AWS Price List API")
            for one in hourly
            if 0 < one <= prices.MAX_RATE and machine.startswith("ml.") and len(machine) <= 64
        ]
    yield from sorted(found, key=lambda price: (price.machine, price.usd_per_hour))


def request(region: str, token: str | None = None) -> dict[str, Any]:
    """One page of GetProducts: training machines of SageMaker in a region."""
    wanted = {"regionCode": region, "component": "Training"}
    asked: dict[str, Any] = {
        "ServiceCode": "AmazonSageMaker",
        "FormatVersion": "aws_v1",
        "MaxResults": _PAGE,
        "Filters": [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()],
    }
    return {**asked, "NextToken": token} if token else asked


def _products(region: str) -> Iterator[str]:
    client = aws.client("pricing", ENDPOINT_REGION)
    token = None
    for _ in range(_MOST_PAGES):
        with aws.explained("reading AWS' price list"):
            page = client.get_products(**request(region, token))
        yield from page.get("PriceList", [])
        token = page.get("NextToken")
        if not token:
            return
    raise CloudError("reading AWS' price list: it has no end")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: two terminals may refresh at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(data)
    os.replace(file.name, path)
