"""Run benchmarks by name; all that need no network when none is named. What follows the names is theirs to read."""

from __future__ import annotations

import importlib
import platform
import sys

BENCHMARKS = (
    "cli",
    "engine",
    "demo",
    "install",
    "quality",
    "methods",
    "limit",
    "size",
    "stages",
    "gallery",
    "transfer",
    "cloud",
    "snapshot",
    "run",
    "image",
)
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
        importlib.import_module(f"tests.bench.{name}").run(arguments)


main()
