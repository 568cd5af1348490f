"""A computer with an AWS account that is simulated: `swatch` runs there as it would against AWS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from orchestrator.simulator import Simulator
from orchestrator.simulator.front import Front
from orchestrator.store.s3 import S3Store
from tests.conftest import Box

STORE = "s3://swatch/studio"


class Account(Box):
    """A Box whose jobs run on a simulator."""

    def __init__(self, folder: Path, aws: Simulator, **settings: object) -> None:
        super().__init__(folder)
        self.aws = aws
        made = aws.make_account()
        self.environment.update(aws.environment())
        self.environment["AWS_CONFIG_FILE"] = self.environment["AWS_SHARED_CREDENTIALS_FILE"] = "/nonexistent"
        self.home.mkdir()
        said = {"store": STORE, "aws": {"role": made.role, **settings}}
        (self.home / "config.yaml").write_text(yaml.safe_dump(said))

    @property
    def far(self) -> S3Store:
        """The store, as this process sees it: only for a test whose environment is the cloud's."""
        return S3Store(STORE)


@contextmanager
def account(folder: Path, aws: Simulator | None = None, **settings: object) -> Iterator[Account]:
    with aws or Simulator(front=Front) as simulator:
        yield Account(folder, simulator, **settings)
