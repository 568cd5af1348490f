"""subjective-functions' novelty.py: frames without a source, as unlike each other as can be. See `synthesize.py -h`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from . import synthesize
else:  # run as a script from its own folder
    import synthesize


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return synthesize.main(["--novelty", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
