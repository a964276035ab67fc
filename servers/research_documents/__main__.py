"""`python -m research_documents`."""

from research_documents.cli import main

main()
