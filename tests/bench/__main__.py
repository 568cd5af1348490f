"""Run benchmarks by name; all that need no network when none is named."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from tests.bench import cli, demo, engine, install, quality

BENCHMARKS = {
    "cli": cli.run,
    "engine": engine.run,
    "demo": demo.run,
    "install": install.run,
    "quality": lambda: quality.run(pictures()),
}
USUAL = ("cli", "engine")


def pictures() -> list[str]:
    """Arguments that are files: photographs for `quality` to measure too."""
    return [name for name in sys.argv[1:] if Path(name).is_file()]


def main() -> None:
    names = [name for name in sys.argv[1:] if name not in pictures()] or USUAL
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"No benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for name in names:
        print(f"\n== {name}")
        BENCHMARKS[name]()


main()
