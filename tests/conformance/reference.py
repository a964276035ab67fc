"""A server with everything that the scenarios of the MCP conformance suite call for, by the names that they use."""

import base64
import json
from typing import Annotated, Any

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.prompts import Message
from fastmcp.tools.function_tool import FunctionTool
from fastmcp.utilities.types import Audio, Image
from mcp import MCPError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from pydantic import Field

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8BQDwAEgAF/pooBPQAAAABJRU5ErkJggg=="
)
WAV = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQIAAAAAAA==")
STEPS = (0, 50, 100)
FOR_TESTS = "For conformance tests"
ENUMS = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {
        "type": "string",
        "oneOf": [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)],
    },
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {
        "type": "array",
        "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
    },
    "titledMulti": {
        "type": "array",
        "items": {"anyOf": [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]},
    },
}
DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
DRAFT_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "address",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["address"]}]}],
    "if": {"required": ["address"]},
    "then": {"properties": {"name": {"minLength": 1}}},
    "else": {},
    "additionalProperties": False,
}


def elicitation(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str, max_tokens: int) -> mcp_types.CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    params = mcp_types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    return mcp_types.CreateMessageRequest(params=params)


def ask(state: str | None = None, **requests: Any) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def said(answer: Any, field: str) -> str:
    """What the user answered in a field, or the model in words."""
    if isinstance(answer, mcp_types.ElicitResult):
        return str((answer.content or {}).get(field, ""))
    if isinstance(answer, mcp_types.CreateMessageResult) and isinstance(answer.content, TextContent):
        return answer.content.text
    return ""


def build_reference() -> FastMCP[Any]:
    server: FastMCP[Any] = FastMCP("reference", dereference_schemas=False)
    add_contents(server)
    add_handshake_questions(server)
    add_rounds(server)
    add_resources(server)
    add_prompts(server)
    return server


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )


def add_contents(server: FastMCP[Any]) -> None:  # noqa: C901  (one tool for each scenario)
    @server.tool(description=FOR_TESTS)
    async def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @server.tool(description=FOR_TESTS)
    async def test_image_content() -> Image:
        return Image(data=PNG, format="png")

    @server.tool(description=FOR_TESTS)
    async def test_audio_content() -> Audio:
        return Audio(data=WAV, format="wav")

    @server.tool(description=FOR_TESTS)
    async def test_embedded_resource() -> list[Any]:
        return [embedded("test://embedded-resource", "This is an embedded resource content.")]

    @server.tool(description=FOR_TESTS)
    async def test_multiple_content_types() -> list[Any]:
        image = mcp_types.ImageContent(
            type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png"
        )
        text = TextContent(type="text", text="Multiple content types test:")
        data = '{"test":"data","value":123}'
        return [text, image, embedded("test://mixed-content-resource", data, "application/json")]

    @server.tool(description=FOR_TESTS)
    async def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(description=FOR_TESTS)
    async def test_tool_with_logging(ctx: Context) -> str:
        for step in ("started", "processing", "completed"):
            await ctx.info(f"Tool execution {step}")
        return "logged"

    @server.tool(description=FOR_TESTS)
    async def test_tool_with_progress(ctx: Context) -> str:
        for step in STEPS:
            await ctx.report_progress(step, 100)
        return "reported"

    @server.tool(description=FOR_TESTS)
    async def test_reconnection(ctx: Context) -> str:
        await ctx.report_progress(0, 100)
        await ctx.close_sse_stream()
        return "Reconnection test complete."

    @server.tool(description=FOR_TESTS)
    async def test_custom_headers(
        message: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Message"})],
    ) -> str:
        return f"Received message: {message}"

    @server.tool(description=FOR_TESTS)
    async def test_missing_capability(ctx: Context) -> str:
        declared = ctx.session.client_capabilities
        if declared is not None and declared.sampling is not None:
            return "sampling is declared"
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="the client did not declare sampling",
            data={"requiredCapabilities": {"sampling": {}}},
        )

    async def json_schema_2020_12_tool(name: str | None = None, address: dict[str, Any] | None = None) -> str:
        return f"{name} {address}"

    server.add_tool(
        FunctionTool(
            fn=json_schema_2020_12_tool,
            name="json_schema_2020_12_tool",
            description="Tool with JSON Schema 2020-12 features",
            parameters=DRAFT_2020_12,
        )
    )


def add_handshake_questions(server: FastMCP[Any]) -> None:
    @server.tool(description=FOR_TESTS)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        answer = await ctx.session.create_message(
            [message], max_tokens=100, related_request_id=ctx.request_id
        )
        return f"LLM response: {said(answer, '')}"

    async def elicit(ctx: Context, message: str, properties: dict[str, Any]) -> str:
        schema = {"type": "object", "properties": properties, "required": []}
        answer = await ctx.session.elicit(message, schema, ctx.request_id)
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content or {})}"

    @server.tool(description=FOR_TESTS)
    async def test_elicitation(message: str, ctx: Context) -> str:
        return await elicit(ctx, message, {"username": {"type": "string"}, "email": {"type": "string"}})

    @server.tool(description=FOR_TESTS)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        return await elicit(ctx, "Please review the defaults", DEFAULTS)

    @server.tool(description=FOR_TESTS)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        return await elicit(ctx, "Please select options", ENUMS)


def add_rounds(server: FastMCP[Any]) -> None:  # noqa: C901  (one tool for each scenario)
    """Tools that ask their client by ending the round; each runs from its top in every round."""

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses
        if answers is None or "user_name" not in answers:
            return ask(user_name=elicitation("What is your name?", "name"))
        return f"Hello, {said(answers['user_name'], 'name')}!"

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            return ask(capital_question=sampling("What is the capital of France?", 100))
        return said(ctx.input_responses["capital_question"], "")

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            return ask(client_roots=ListRootsRequest())
        answer = ctx.input_responses["client_roots"]
        assert isinstance(answer, mcp_types.ListRootsResult)
        return f"Client roots: {', '.join(str(root.uri) for root in answer.roots)}"

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            return ask("conformance-state", confirm=elicitation("Please confirm", "ok", "boolean"))
        if ctx.request_state != "conformance-state":
            raise ToolError("the state did not come back")
        return "state-ok"

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            return ask(
                "several",
                user_name=elicitation("What is your name?", "name"),
                greeting=sampling("Generate a greeting", 50),
                client_roots=ListRootsRequest(),
            )
        return f"{len(ctx.input_responses)} answers from {said(ctx.input_responses['user_name'], 'name')}"

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses
        if answers is None:
            return ask("round-1", step1=elicitation("Step 1: What is your name?", "name"))
        if "step1" in answers:
            name = said(answers["step1"], "name")
            return ask(f"round-2:{name}", step2=elicitation("Step 2: Your favorite color?", "color"))
        return f"{(ctx.request_state or '').partition(':')[2]} likes {said(answers['step2'], 'color')}"

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            return ask("sealed", confirm=elicitation("Please confirm", "ok", "boolean"))
        return f"accepted {ctx.request_state}"

    @server.tool(description=FOR_TESTS)
    async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is not None:
            return f"{len(ctx.input_responses)} answers"
        declared = ctx.session.client_capabilities or mcp_types.ClientCapabilities()
        requests: dict[str, Any] = {}
        if declared.sampling is not None:
            requests["capital_question"] = sampling("What is the capital of France?", 100)
        if declared.elicitation is not None:
            requests["user_name"] = elicitation("What is your name?", "name")
        if declared.roots is not None:
            requests["client_roots"] = ListRootsRequest()
        return ask(**requests) if requests else "nothing can be asked"


def add_resources(server: FastMCP[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    async def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    async def static_binary() -> bytes:
        return PNG

    @server.resource("test://template/{id}/data", mime_type="application/json")
    async def template(id: str) -> str:  # noqa: A002  (the suite's own name)
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    async def watched() -> str:
        return "Watched resource content"


def add_prompts(server: FastMCP[Any]) -> None:
    @server.prompt(description=FOR_TESTS)
    async def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description=FOR_TESTS)
    async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description=FOR_TESTS)
    async def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803  (the suite's own name)
        content = embedded(resourceUri, "Embedded resource content for testing.")
        return [Message(content), Message("Please process the embedded resource above.")]

    @server.prompt(description=FOR_TESTS)
    async def test_prompt_with_image() -> list[Any]:
        image = mcp_types.ImageContent(
            type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png"
        )
        return [Message(image), Message("Please analyze the image above.")]

    @server.prompt(description=FOR_TESTS)
    async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            return ask(user_context=elicitation("What context should the prompt use?", "context"))
        return f"Context: {said(ctx.input_responses['user_context'], 'context')}"

    @server.completion
    async def complete(ref: Any, argument: Any, _context: Any) -> list[str] | None:
        if getattr(ref, "name", None) != "test_prompt_with_arguments":
            return None
        return [value for value in ("paris", "park", "party") if value.startswith(argument.value)]
