"""Prompts that have a client's model write a brief or compare documents, and the completion of their arguments."""

from typing import Any

from fastmcp import FastMCP

from research_reasoning.inquiry import MAX_TABLE_ROWS
from research_shared.reading.library import Library
from research_shared.tools.completions import (
    CompletionHandler,
    complete_folder,
    complete_paths,
    prompt_completion,
)
from research_shared.tools.descriptions import described
from research_shared.tools.icons import icons_of


def add_research_prompts(server: FastMCP[Any]) -> None:
    """Add `research_brief` and `compare_documents`."""

    @described(server.prompt, title="Research brief", icons=icons_of("read"))
    def research_brief(topic: str, folder: str = "") -> str:
        """Work through a research folder on one topic and write a brief with checked evidence."""
        folder = folder.strip().strip("/")
        pattern = f'"{folder}/**"' if folder else ""
        listed = f" with file_pattern={pattern}" if pattern else ""
        paths = f"document_paths=[{pattern}]" if pattern else "without document_paths"
        return (
            f"Write a research brief on this topic: {topic}\n\n"
            f"1. Call list_research_documents{listed} to see what there is: note dates, and which documents are versions or "
            "copies of others.\n"
            "2. Turn the topic into one precise question, and call synthesize_research with it, "
            f"{paths}, depth detailed: evidence is then chosen from all documents.\n"
            "3. Look at not_answered, contradictions and the insights that are not verified. For each, call search_documents "
            "with other words, and read_document around the best hits.\n"
            "4. If they answer more, call synthesize_research again with the narrower question, follow_up of the first answer, "
            "and the documents that you found.\n"
            "5. Before you write, call verify_quotes with every quote that you took from read_document yourself.\n"
            "6. Write the brief: the answer, the key insights with document, page and lines, where sources disagree, "
            "and what the folder does not answer. Report only insights that are verified; name skipped sources."
        )

    @described(server.prompt, title="Compare documents", icons=icons_of("compare"))
    def compare_documents(documents: str, aspects: str = "") -> str:
        """Compare documents in a table whose every entry has a quote that was looked up."""
        columns = (
            f"aspects: {aspects}"
            if aspects.strip()
            else "no aspects: the columns are then chosen for the question"
        )
        return (
            f"Compare these documents: {documents}\n\n"
            "1. Find their paths with list_research_documents, if they are not given exactly.\n"
            f"2. Call synthesize_research with document_paths (at most {MAX_TABLE_ROWS}), format table, one question that says "
            f"what the comparison is for, and {columns}.\n"
            "3. Give the table as it is: each entry with page and lines. `not stated` means that no checked quote was found, "
            "not that it is untrue. Mark entries with flags as doubtful.\n"
            "4. Below the table say in a few sentences where the documents agree, where they differ, and what none of them "
            "states. Add nothing that is not in the table."
        )


def reasoning_completion(library: Library) -> CompletionHandler:
    """Build the completion handler of the reasoning server: the `documents` and the `folder` of its prompts."""
    return prompt_completion(
        library,
        {("compare_documents", "documents"): complete_paths, ("research_brief", "folder"): complete_folder},
    )
