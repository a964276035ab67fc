"""Messages of the tools in the words of a shell: they are written for a model, which calls tools with arguments."""

import re
from typing import Final

COMMAND_OF_TOOL: Final = {
    "list_research_documents": "list",
    "search_documents": "search",
    "read_document": "read",
    "verify_quotes": "verify-quotes",
    "summarize_document": "summarize",
    "synthesize_research": "ask",
}
"""The command of each tool."""
WORK_OF_TOOL: Final = {
    "list_research_documents": "listing documents",
    "search_documents": "searching",
    "read_document": "reading",
    "verify_quotes": "checking quotes",
    "summarize_document": "summarizing",
    "synthesize_research": "answering",
}
"""What each tool does, as a person reads it while it runs."""
_PHRASES: Final = {
    "Call again without a cursor": "Try again without --cursor",
    "Call again": "Try again",
    "call again": "try again",
    "Use a start_line from": "Use --lines from",
    "file_pattern of list_research_documents does": "`research-assistant list` does",
}
"""Where one word is not enough."""
_SPOKEN_ARGUMENTS: Final = {
    "context_lines": "--context",
    "dated_after": "--dated-after",
    "dated_before": "--dated-before",
    "document_path": "the document",
    "document_paths": "DOCUMENTS",
    "file_pattern": "the pattern",
    "max_lines": "the number of lines",
    "modified_after": "--modified-after",
    "modified_before": "--modified-before",
    "research_question": "QUESTION",
    "start_line": "--lines",
    "summary_length": "--length",
}
"""What gives an argument in the shell. Arguments that are called alike there are not listed."""

_SPOKEN = re.compile(
    # neither a part of a path nor quoted: then it is the name of a document
    r"(?<![\w./`'\"“-])"
    rf"(?:(?P<phrase>{'|'.join(map(re.escape, _PHRASES))})"
    rf"|(?:(?P<verb>[Cc]all) )?(?P<tool>{'|'.join(COMMAND_OF_TOOL)})"
    rf"|(?P<argument>{'|'.join(sorted(_SPOKEN_ARGUMENTS, reverse=True))}))"
    r"(?![\w/`'\"”-]|\.[A-Za-z])"
)


def in_shell_words(message: str) -> str:
    """Return a message of a tool with commands and options instead of tools and arguments.

    >>> in_shell_words("Call list_research_documents to see the available paths, then call again with those.")
    'Run `research-assistant list` to see the available paths, then try again with those.'
    """
    return _SPOKEN.sub(_in_shell, message)


def _in_shell(match: re.Match[str]) -> str:
    if phrase := match["phrase"]:
        return _PHRASES[phrase]
    if argument := match["argument"]:
        return _SPOKEN_ARGUMENTS[argument]
    verb = {"Call": "Run ", "call": "run "}.get(match["verb"] or "", "")
    return f"{verb}`research-assistant {COMMAND_OF_TOOL[match['tool']]}`"
