"""`python -m cluster.cli` is `vmotion`."""

from cluster.cli.main import main

main()
