"""`python -m orchestrator` is the command `swatch`."""

from orchestrator.cli import main

main()
