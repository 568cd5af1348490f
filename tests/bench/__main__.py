"""Run benchmarks by name; all that need no network when none is named."""

from __future__ import annotations

import platform
import sys

from tests.bench import cli, demo, engine, install

BENCHMARKS = {"cli": cli.run, "engine": engine.run, "demo": demo.run, "install": install.run}
USUAL = ("cli", "engine")


def main() -> None:
    names = sys.argv[1:] or USUAL
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"No benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for name in names:
        print(f"\n== {name}")
        BENCHMARKS[name]()


main()
