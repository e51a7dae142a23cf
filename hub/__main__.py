"""`python -m hub` is the command `aether`."""

from hub.cli import main

main()
