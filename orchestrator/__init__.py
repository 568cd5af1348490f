"""Swatch: cloud batch jobs a person enjoys. `from orchestrator import Swatch` is all of it, for programs."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.swatch import Swatch as Swatch

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # The agent carries this file into images that are not ours, and the command line must start fast.
    if name == "Swatch":
        from orchestrator.swatch import Swatch

        return Swatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
