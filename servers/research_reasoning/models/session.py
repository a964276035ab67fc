"""The caller's model over the session of a client that speaks a protocol version before 2026-07-28."""

from fastmcp import Context
from mcp import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    SamplingMessage,
    TextContent,
)
from pydantic import ValidationError

from research_reasoning.models.concurrent import Attempt, Unavailable
from research_reasoning.models.protocol import AttemptFailed, Body, ContextExceeded, RawAnswer
from research_reasoning.models.provider.refusals import Refusal, too_long

USER_REJECTED = -1
"""The code of a sampling request that the user declined (MCP specification, client/sampling, error handling)."""


def session_call(context: Context) -> Attempt:
    """Makes attempts with `sampling/createMessage`, related to the request that is being served.

    They raise AttemptFailed when they gave nothing usable, and Unavailable when the client does not answer at all.
    """
    related = ServerMessageMetadata(related_request_id=context.request_id)

    async def call(body: Body, max_tokens: int) -> RawAnswer:
        try:
            answer = await context.session.send_request(
                sampling_request(body, max_tokens), CreateMessageResultWithTools, metadata=related
            )
        except MCPError as error:
            if error.code in {METHOD_NOT_FOUND, INVALID_REQUEST}:
                raise Unavailable("the client declared sampling but does not answer it") from error
            if error.code == USER_REJECTED:
                raise AttemptFailed("refused", "the user declined the request", retry=False) from error
            if (sizes := too_long(Refusal(status=0, message=error.error.message))) is not None:
                raise ContextExceeded(
                    "the prompt is too long for the client's model", limit=sizes[0], sent=sizes[1]
                ) from error
            raise AttemptFailed("client_error", "the client could not answer", retry=True) from error
        except ValidationError as error:
            raise AttemptFailed("wrong_shape", "the client's answer is malformed", retry=True) from error
        return from_sampling(answer)

    return call


def sampling_request(body: Body, max_tokens: int) -> CreateMessageRequest:
    """The request for the caller's model: one user message, no tools, no context of the client's.

    No temperature: models that think refuse one, and a client may pass it on.
    """
    message = SamplingMessage(role="user", content=TextContent(type="text", text=body.text))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(
            messages=[message], system_prompt=body.system, max_tokens=max_tokens
        )
    )


def from_sampling(answer: CreateMessageResult | CreateMessageResultWithTools) -> RawAnswer:
    """What a client's model answered."""
    content = answer.content if isinstance(answer.content, list) else [answer.content]
    text = "".join(block.text for block in content if isinstance(block, TextContent))
    return RawAnswer(text, answer.model, answer.stop_reason, tuple(block.type for block in content))
