"""What `cpu` and `gpu` stand for, and what is known of instance types: against the lists of those who know."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import machines
from orchestrator.backends.sagemaker import model


def types() -> list[str]:
    """The instance types of training jobs, by the service model."""
    found: list[str] = model._service("sagemaker").shape_for("TrainingInstanceType").enum
    return found


def described() -> dict[str, Any]:
    """EC2's own DescribeInstanceTypes, as moto carries it."""
    data = json.loads(gzip.decompress((files("moto") / "ec2/resources/instance_types.json.gz").read_bytes()))
    return data if isinstance(data, dict) else {one["InstanceType"]: one for one in data}


def test_aliases_are_types_that_sagemaker_has() -> None:
    named = {one for types_ in machines.ALIASES.values() for one in types_}
    assert named <= set(types())
    assert machines.known("cpu") == machines.Machine("ml.m5.xlarge")
    assert all((machines.known(one) or pytest.fail(one)).gpus == 1 for one in machines.ALIASES["gpu"])


def test_what_is_known_of_a_type_is_what_ec2_says() -> None:
    ec2 = described()
    for name in types():
        machine = machines.known(name)
        facts = ec2.get(name.removeprefix("ml."))
        if facts is None:
            continue
        if machine is None:
            assert name.startswith(("ml.trn", "ml.p6e-")), f"{name} is not known"
            continue
        gpus = (facts.get("GpuInfo") or {}).get("Gpus", [])
        assert machine.gpus == sum(gpu["Count"] for gpu in gpus), name
        assert machine.local_storage == facts["InstanceStorageSupported"], name
        if gpus:
            assert machine.gpu_memory == pytest.approx(gpus[0]["MemoryInfo"]["SizeInMiB"] / 1024, abs=0.06), name


@pytest.mark.parametrize("name", ["", "g5.xlarge", "ml.zz.1", "ml.g5", "ml.g5.xlarge.x", "moon"])
def test_of_another_word_nothing_is_known(name: str) -> None:
    assert machines.known(name) is None


@given(st.lists(st.sampled_from(["cpu", "gpu", "ml.g5.xlarge", "ml.p5.4xlarge"]), max_size=6))
def test_expanding_keeps_the_order_and_names_each_type_once(names: list[str]) -> None:
    found = machines.expand(names)
    assert len(set(found)) == len(found)
    assert not set(found) & set(machines.ALIASES)
    assert machines.expand(found) == found
    assert found[:1] == tuple(machines.ALIASES.get(name, (name,))[0] for name in names[:1])
