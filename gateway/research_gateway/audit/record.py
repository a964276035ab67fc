"""The fields of an audit record, and what each of them says: the contract for those who read a log."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from research_gateway.audit.options import AuditLevel, Fsync
from research_gateway.audit.request.outcome import OutcomeKind

AuditEvent = Literal[
    "start", "end", "genesis", "opened", "closed", "continued", "checkpoint", "repaired", "gap"
]


class AuditRecord(BaseModel):
    """One line of an audit log. A field that does not apply to an event is not in its line.

    >>> line = '{"schema":1,"chain":"c","seq":0,"prev":"0","event":"closed","time":"t","hash":"1"}'
    >>> AuditRecord.model_validate_json(line).event
    'closed'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The chain
    format_version: Literal[1] = Field(alias="schema", description="version of the record format")
    chain: str = Field(description="id of the chain")
    seq: int = Field(description="the record's number in its chain, from 0")
    prev: str = Field(description="hash of the record before; zeros in the first one")
    hash: str = Field(description="SHA-256 of this line up to the field itself")

    # Every record
    event: AuditEvent = Field(description="`start` and `end` of a request; the others are about the log")
    time: str = Field(description="RFC 3339, UTC, microseconds")

    # Every request
    call_id: str | None = Field(None, description="the request")
    logical_call_id: str | None = Field(None, description="the call that the request is a round of")
    round: int | None = Field(None, description="number of the round, from 1")
    parent_call_id: str | None = Field(
        None, description="the call whose tool made this call, or that submitted the task"
    )
    state: str | None = Field(
        None,
        description="digest of the state that links two rounds: the same in the end of one and the start of the next",
    )
    answers: int | None = Field(None, description="answered questions of the round before")
    server: str | None = Field(None, description="name of the server")
    method: str | None = Field(None, description="method of the protocol, such as `tools/call`")
    tool: str | None = Field(None, description="name of the tool")
    prompt: str | None = Field(None, description="name of the prompt")
    uri: str | None = Field(None, description="resource; without user, query, fragment and absolute path")
    argument: str | None = Field(None, description="the argument that is completed")

    # The task
    task: str | None = Field(
        None, description="id of the task that the call became, is the work of, or asks about"
    )
    attempt: int | None = Field(
        None,
        description="how often the task was begun, its own work included; more than 1: a worker was lost",
    )

    # Its caller
    era: Literal["modern", "handshake"] | None = Field(None, description="`modern`: MCP 2026-07-28 or later")
    protocol: str | None = Field(None, description="version of the protocol")
    transport: str | None = Field(
        None, description="`internal`: a call inside the server; `task`: the work of a task"
    )
    client: dict[str, str] | None = Field(None, description="name and version that the client gives itself")
    principal: dict[str, str] | None = Field(None, description="`client_id` and `subject` of the token")
    request_id: str | None = Field(None, description="the client's id of the request")
    trace_id: str | None = Field(
        None, description="the OpenTelemetry trace; its span carries `research.audit.call_id`"
    )

    # What it is about
    documents: list[dict[str, str | None]] | None = Field(
        None,
        description="root and relative path of each document; of a path outside the roots only the reason: `rejected`",
    )
    documents_total: int | None = Field(None, description="how many there were; `documents` names 100")
    undescribed: str | None = Field(
        None, description="kind of failure, when a request could not be described; it is served all the same"
    )
    argument_bytes: int | None = Field(None, description="size of the arguments")
    argument_digest: str | None = Field(
        None, description="digest of the arguments; an HMAC with `RESEARCH_AUDIT_KEY`"
    )
    arguments: dict[str, Any] | None = Field(
        None, description="the arguments, with `RESEARCH_AUDIT_LEVEL=arguments`"
    )

    # How it ended
    outcome: OutcomeKind | None = Field(None, description="how the request ended")
    decision: Literal["allow", "deny"] | None = Field(None, description="whether a policy allowed it")
    reason: str | None = Field(None, description="code of the error")
    error_id: str | None = Field(None, description="finds the traceback in the server's log")
    recovered: bool | None = Field(
        None, description="the end was written by the next process, because the first one was killed"
    )
    duration_ms: float | None = Field(None, description="duration")
    result_bytes: int | None = Field(None, description="bytes of text and binary content")
    result_items: int | None = Field(None, description="entries of a listing")
    upstream: str | None = Field(None, description="the remote server that answered")
    retries: int | None = Field(None, description="further attempts at that server")

    choice: str | None = Field(
        None, description="what the user was asked to choose, and what became of it: `document: accept`"
    )

    # The language model
    route: str | None = Field(None, description="whose model answered")
    model: str | None = Field(None, description="its name")
    model_calls: int | None = Field(
        None, description="calls that had an outcome; totals over all rounds so far"
    )
    attempts: int | None = Field(None, description="attempts at them")
    input_tokens: int | None = Field(None, description="tokens sent")
    output_tokens: int | None = Field(None, description="tokens received")
    stop_reason: str | None = Field(None, description="why the model stopped")
    model_error: str | None = Field(None, description="why it failed")
    unfinished_model_calls: int | None = Field(
        None, description="calls without an outcome when the request ended; in none of the totals"
    )
    unfinished_input_tokens: int | None = Field(None, description="estimate of the tokens sent for those")
    cache_hits: int | None = Field(None, description="texts that were in memory")
    cache_misses: int | None = Field(None, description="texts that had to be read")

    # The answer
    scope: list[str] | None = Field(None, description="what the client's roots left of the research folders")
    rules: list[str] | None = Field(None, description="rules of the policy that applied")
    sources_used: int | None = Field(None, description="documents that an answer rests on")
    sources_skipped: int | None = Field(None, description="documents that it could not use")
    partial: bool | None = Field(None, description="the findings could not be combined")
    tool_call: str | None = Field(None, description="the tool's own id of a call of several rounds")

    # The log itself
    version: str | None = Field(None, description="version of the server")
    pid: int | None = Field(None, description="its process")
    level: AuditLevel | None = Field(None, description="`RESEARCH_AUDIT_LEVEL`")
    fsync: Fsync | None = Field(None, description="`RESEARCH_AUDIT_FSYNC`")
    segment: int | None = Field(None, description="number of the file, from 1")
    supersedes: dict[str, Any] | None = Field(
        None, description="why a new chain began, and where the old one ended"
    )
    open_calls: list[str] | None = Field(None, description="requests in flight when a file was continued")
    key_id: str | None = Field(None, description="which key signed")
    checkpoint_every: int | None = Field(None, description="records between two signatures at most")
    mac: str | None = Field(None, description="the signature")
    torn_bytes: int | None = Field(None, description="bytes of an incomplete last line that was removed")
    lost: int | None = Field(None, description="records that could not be written")
