"""`python -m research_gateway`."""

from research_gateway.cli import main

main()
