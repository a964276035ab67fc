"""Arguments of the tools: what is read, and what the schema says of it."""

from typing import Annotated, Final, Literal

from pydantic import Field

from research_reasoning.follow_up import MAX_FOLLOW_UP_CHARS
from research_reasoning.inquiry import MAX_ASPECT_CHARS, MAX_ASPECTS
from research_reasoning.replies.results import AnswerFormat, Depth, SummaryLength
from research_reasoning.requested import MAX_REQUESTED_DOCUMENTS
from research_shared.tools.arguments import READ_LIST, READ_TEXT, or_default

MAX_QUESTION: Final = 2_000
"""Characters."""

DocumentPath = Annotated[
    str,
    Field(
        min_length=1, max_length=4096, description="path of a listing or a hit; a unique file name will do"
    ),
    READ_TEXT,
]
DocumentPaths = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=4096)]],
    Field(
        max_length=MAX_REQUESTED_DOCUMENTS,
        description="paths of a listing or of hits, folders, patterns such as papers/*.pdf; their order numbers [1], [2]. "
        "Left out: the server chooses passages from the whole folder; patterns over many documents limit it",
    ),
    READ_LIST,
]
Question = Annotated[
    str,
    Field(
        min_length=3,
        max_length=MAX_QUESTION,
        description="one whole question; a specific one finds better evidence than a topic",
    ),
    READ_TEXT,
]
Length = Annotated[
    SummaryLength,
    Field(description="brief: 1 paragraph, standard: 3, detailed: 5 or more"),
    or_default("standard", choice=True),
]
HowDeep = Annotated[
    Depth,
    Field(description="overview: a short answer; detailed: a long one from more of each document"),
    or_default("overview", choice=True),
]
AnswerLayout = Annotated[
    AnswerFormat,
    Field(
        description="prose; table: documents by aspects, each entry with its quote; timeline: dated events in order"
    ),
    or_default("prose", choice=True),
]
Aspects = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_ASPECT_CHARS)]],
    Field(
        max_length=MAX_ASPECTS,
        description="columns of a table, such as method, cost; left out: the model chooses",
    ),
    READ_LIST,
]
ExportAs = Annotated[
    Literal["", "markdown", "bibtex", "csl-json"],
    Field(
        description="also give the answer as a file: markdown (footnotes), bibtex or csl-json (its sources)"
    ),
    or_default("", choice=True),
]
FollowUp = Annotated[
    str,
    Field(
        max_length=2 * MAX_FOLLOW_UP_CHARS,
        description="follow_up of the last answer, for a question that goes on from it: its evidence is used again",
    ),
    or_default(""),
]
