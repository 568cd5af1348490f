"""Run benchmarks by name; all that need no network when none is named. What follows the names is theirs to read."""

from __future__ import annotations

import platform
import sys

from tests.bench import cli, demo, engine, gallery, install, limit, methods, quality, transfer

BENCHMARKS = {
    "cli": lambda _: cli.run(),
    "engine": lambda _: engine.run(),
    "demo": lambda _: demo.run(),
    "install": lambda _: install.run(),
    "quality": quality.run,
    "methods": methods.run,
    "limit": limit.run,
    "gallery": gallery.run,
    "transfer": transfer.run,
}
USUAL = ["cli", "engine"]


def main() -> None:
    words = sys.argv[1:]
    count = next((at for at, word in enumerate(words) if word not in BENCHMARKS), len(words))
    names, arguments = words[:count] or USUAL, words[count:]
    if arguments and not count:
        sys.exit(f"No benchmark {arguments[0]}; there are: {', '.join(BENCHMARKS)}")
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for name in names:
        print(f"\n== {name}")
        BENCHMARKS[name](arguments)


main()
