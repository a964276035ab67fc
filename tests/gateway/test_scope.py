"""The scope of a request: the operator's ceiling as the roots of the client narrow it."""

import json
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.client.elicitation import ElicitResult
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp import MCPError
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult, ToolAnnotations

from research_gateway._framework import params_of_request
from research_gateway.scope.client_roots import narrowed_by
from research_gateway.scope.middleware import EMPTY_SCOPE, PassScopeOn, ScopeFromClientRoots
from research_gateway.scope.resource import add_scope_resource, describe_scope
from research_gateway.scope.rounds import ScopeRound, ask_for_roots
from research_shared.access.roots import EVERYTHING, Root, Scope, current_scope, narrowed_scope
from research_shared.access.scope import View
from research_shared.errors import DocumentNotFound
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.middleware.scope_meta import SCOPE_META_KEY, ScopeFromRequest
from research_shared.telemetry import collecting
from support.results import error_of
from support.serving import serving
from support.upstreams import Behind, Gateway

READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
FORM = {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]}
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Root, Root]:
    for name in ("alpha/reports/2024", "alpha/memos", "beta", "other"):
        (tmp_path / name).mkdir(parents=True)
    return Root("alpha", tmp_path / "alpha"), Root("beta", tmp_path / "beta")


def uri(path: Path) -> str:
    return path.as_uri()


class Host:
    """A server that serves within a scope, and what its tools saw."""

    def __init__(self, roots: tuple[Root, ...], *, exempt: tuple[str, ...] = ()) -> None:
        self.seen: list[Scope] = []
        self.states: list[str | None] = []
        child: FastMCP[Any] = FastMCP("child", middleware=[ErrorBoundary()])
        self.server: FastMCP[Any] = FastMCP(
            "host", middleware=[ErrorBoundary(), ScopeFromClientRoots(roots, exempt=exempt)]
        )
        self.server.mount(child)
        add_scope_resource(self.server, roots)

        @child.tool(annotations=READ_ONLY)
        async def look() -> list[str]:
            self.seen.append(current_scope())
            if not current_scope().prefixes:
                raise DocumentNotFound("no document has this path")
            return list(current_scope().prefixes)

        @child.tool
        async def write() -> list[str]:
            self.seen.append(current_scope())
            return list(current_scope().prefixes)

        @child.tool(annotations=READ_ONLY)
        async def confirm(ctx: Context) -> str | InputRequiredResult:
            """Asks twice, and carries its own state from round to round."""
            self.seen.append(current_scope())
            self.states.append(ctx.request_state)
            said = [
                str(a.content["value"])
                for a in (ctx.input_responses or {}).values()
                if isinstance(a, mcp_types.ElicitResult) and a.content
            ]
            so_far = json.loads(ctx.request_state or "[]") + said
            if len(so_far) == 2:
                return "+".join(so_far)
            ask = ElicitRequest(
                params=ElicitRequestFormParams(message=f"q{len(so_far)}", requested_schema=FORM)
            )
            return InputRequiredResult(input_requests={"question": ask}, request_state=json.dumps(so_far))

        @child.prompt(name="brief")
        async def brief() -> str:
            return ",".join(current_scope().prefixes)

        @child.resource("doc://{name}")
        async def doc(name: str) -> str:
            return name + ":" + ",".join(current_scope().prefixes)


class Answering:
    """A client's handlers, and how often each was asked."""

    def __init__(self, *directories: Path) -> None:
        self.roots = [uri(directory) for directory in directories]
        self.asked: list[str] = []

    async def list_roots(self, _context: Any) -> list[str]:
        self.asked.append("roots")
        return self.roots

    async def elicit(self, message: str, *_: Any) -> ElicitResult[Any]:
        self.asked.append(message)
        return ElicitResult(action="accept", content={"value": message.upper()})

    def client(self, host: Host, mode: Any = "auto") -> Client[Any]:
        return Client(host.server, mode=mode, roots=self.list_roots, elicitation_handler=self.elicit)


@ERAS
async def test_calls_readings_and_prompts_see_what_the_clients_roots_leave(
    roots: tuple[Root, Root], mode: Any, tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "alpha" / "reports")
    async with answering.client(host, mode) as client:
        assert (await client.call_tool("look")).data == ["alpha/reports"]
        assert (await client.read_resource("doc://x"))[0].text == "x:alpha/reports"
        prompt = await client.get_prompt("brief")
        assert prompt.messages[0].content.text == "alpha/reports"
        shown = json.loads((await client.read_resource("research://scope"))[0].text)
    assert shown["paths"] == ["alpha/reports"]
    assert shown["roots"] == ["alpha", "beta"]
    assert not shown["everything"]
    assert answering.asked == ["roots"] * (1 if mode == "legacy" else 4)


@ERAS
async def test_a_client_without_roots_sees_the_whole_ceiling(roots: tuple[Root, Root], mode: Any) -> None:
    host = Host(roots)
    async with Client(host.server, mode=mode) as client:
        assert (await client.call_tool("look")).data == [""]
        shown = json.loads((await client.read_resource("research://scope"))[0].text)
    assert shown["everything"]


@ERAS
async def test_roots_elsewhere_leave_nothing_and_say_so(
    roots: tuple[Root, Root], mode: Any, tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "other")
    async with answering.client(host, mode) as client:
        result = await client.call_tool("write", raise_on_error=False)
        shown = json.loads((await client.read_resource("research://scope"))[0].text)
    assert error_of(result)["code"] == "scope_empty"
    assert shown["paths"] == []
    assert str(tmp_path) not in json.dumps(shown)
    assert host.seen == []


@ERAS
async def test_readings_say_that_nothing_can_be_read_and_prompts_are_rendered_all_the_same(
    roots: tuple[Root, Root], mode: Any, tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "other")
    async with answering.client(host, mode) as client:
        with pytest.raises(MCPError) as refusal:
            await client.read_resource("doc://x")
        prompt = await client.get_prompt("brief")
    assert refusal.value.error.data["error"]["code"] == "scope_empty"
    assert prompt.messages[0].content.text == ""


def test_what_a_client_is_told_about_its_scope(roots: tuple[Root, Root]) -> None:
    scopes = (EVERYTHING, Scope(("", "alpha")), Scope(("alpha/memos",)), EMPTY_SCOPE)
    told = [describe_scope(scope, roots) for scope in scopes]
    assert [(one["everything"], one["paths"]) for one in told] == [
        (True, []),
        (True, []),
        (False, ["alpha/memos"]),
        (False, []),
    ]
    assert told[0] == told[1]
    assert len({one["message"] for one in told}) == 3
    assert [one["message"].startswith("Nothing") for one in told] == [False, False, False, True]


def test_a_client_is_told_the_folders_of_which_the_policy_shows_something(roots: tuple[Root, Root]) -> None:
    views = (View(allow=("alpha/**", "beta/**")), View(allow=("beta/**",)))
    told = [describe_scope(Scope(("",), views), some)["roots"] for some in (roots, roots[:1])]
    assert told == [["beta"], ["alpha"]]


async def test_other_notifications_leave_a_session_its_roots(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "alpha")
    async with answering.client(host, "legacy") as client:
        await client.call_tool("look")
        with pytest.warns(MCPDeprecationWarning, match="progress"):
            await client.progress("any", 1)
        await client.call_tool("look")
    assert answering.asked == ["roots"]


async def test_a_session_is_asked_again_when_its_roots_change(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "alpha")
    told: list[str | None] = []

    class Told(Middleware):
        async def on_notification(
            self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
        ) -> Any:
            told.append(context.method)
            return await call_next(context)

    host.server.add_middleware(Told())
    async with answering.client(host, "legacy") as client:
        assert (await client.call_tool("look")).data == ["alpha"]
        answering.roots = [uri(tmp_path / "beta")]
        assert (await client.call_tool("look")).data == ["alpha"]
        await client.send_roots_list_changed()
        assert (await client.call_tool("look")).data == ["beta"]
    assert answering.asked == ["roots", "roots"]
    assert "notifications/roots/list_changed" in told


async def test_the_scope_of_a_call_is_recorded(roots: tuple[Root, Root], tmp_path: Path) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")
    recorded: list[dict[str, Any]] = []

    class Recording(Middleware):
        async def on_call_tool(
            self,
            context: MiddlewareContext[mcp_types.CallToolRequestParams],
            call_next: CallNext[mcp_types.CallToolRequestParams, ToolResult],
        ) -> ToolResult:
            with collecting() as facts:
                result = await call_next(context)
            recorded.append(facts)
            return result

    host.server.middleware.insert(0, Recording())
    async with answering.client(host, "legacy") as client:
        await client.call_tool("look")
    assert recorded == [{"scope": ["beta"], "effective_scope": Scope(("beta",))}]


async def test_where_no_sessions_are_kept_a_client_whose_roots_cannot_be_known_reads_nothing(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")
    async with (
        serving(host.server, stateless_http=True) as served,
        Client(served.url, mode="legacy", roots=answering.list_roots) as client,
    ):
        refused = await client.call_tool("look", raise_on_error=False)
        assert error_of(refused)["code"] == "scope_empty"
    assert answering.asked == []


async def test_sessions_do_not_share_their_roots(roots: tuple[Root, Root], tmp_path: Path) -> None:
    host = Host(roots)
    one, two = Answering(tmp_path / "alpha"), Answering(tmp_path / "beta")
    async with one.client(host, "legacy") as first, two.client(host, "legacy") as second:
        assert (await first.call_tool("look")).data == ["alpha"]
        assert (await second.call_tool("look")).data == ["beta"]


async def test_a_session_whose_client_fails_to_answer_can_read_nothing(roots: tuple[Root, Root]) -> None:
    async def broken(_context: Any) -> list[str]:
        raise RuntimeError("no")

    host = Host(roots)
    async with Client(host.server, mode="legacy", roots=broken) as client:
        result = await client.call_tool("look", raise_on_error=False)
    assert error_of(result)["code"] == "scope_empty"


async def test_the_tools_own_first_question_is_asked_in_the_same_round(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")
    async with answering.client(host) as client:
        assert (await client.call_tool("confirm")).data == "Q0+Q1"
    assert sorted(answering.asked[:2]) == ["q0", "roots"]
    assert answering.asked[2:] == ["q1"]
    assert host.seen == [EMPTY_SCOPE, Scope(("beta",)), Scope(("beta",))]
    assert host.states == [None, "[]", '["Q0"]']


class Seeing(Middleware):
    """What a call looks like behind the scope: the state and the answers of its message, and its parameters."""

    def __init__(self) -> None:
        self.messages: list[tuple[str | None, list[str]]] = []
        self.params: list[dict[str, Any]] = []

    async def on_call_tool(
        self,
        context: MiddlewareContext[mcp_types.CallToolRequestParams],
        call_next: CallNext[mcp_types.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        message = context.message
        self.messages.append((message.request_state, list(message.input_responses or {})))
        assert context.fastmcp_context is not None
        assert context.fastmcp_context.request_context is not None
        self.params.append(params_of_request(context.fastmcp_context.request_context))
        return await call_next(context)


async def test_what_is_behind_the_scope_sees_the_tools_own_state_and_answers_and_no_empty_ones(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering, seeing = Host(roots), Answering(tmp_path / "beta"), Seeing()
    host.server.add_middleware(seeing)
    async with answering.client(host) as client:
        await client.call_tool("confirm")
        assert seeing.messages == [(None, []), ("[]", ["question"]), ('["Q0"]', ["question"])]
        assert [one.get("requestState") for one in seeing.params] == [None, "[]", '["Q0"]']
        seeing.params.clear()
        await client.call_tool("write")
    (alone,) = seeing.params
    assert not {"inputResponses", "requestState"} & alone.keys()
    assert alone["_meta"][SCOPE_META_KEY] == ["beta"]


async def test_a_tool_that_changes_things_is_not_run_before_the_roots_are_known(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")
    async with answering.client(host) as client:
        await client.call_tool("write")
    assert host.seen == [Scope(("beta",))]


@pytest.mark.parametrize(
    "annotations", [ToolAnnotations(read_only_hint=True), ToolAnnotations(idempotent_hint=True)]
)
async def test_a_tool_that_cannot_be_repeated_is_not_run_before_the_roots_are_known(
    roots: tuple[Root, Root], tmp_path: Path, annotations: ToolAnnotations
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")

    @host.server.tool(annotations=annotations)
    async def once() -> None:
        host.seen.append(current_scope())

    async with answering.client(host) as client:
        await client.call_tool("once")
    assert host.seen == [Scope(("beta",))]


async def test_a_resource_and_a_prompt_are_not_read_before_the_roots_are_known(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")

    @host.server.resource("data://once")
    async def once() -> str:
        host.seen.append(current_scope())
        return "once"

    @host.server.prompt
    async def ask() -> str:
        host.seen.append(current_scope())
        return "ask"

    async with answering.client(host) as client:
        await client.read_resource("data://once")
        await client.get_prompt("ask")
    assert host.seen == [Scope(("beta",)), Scope(("beta",))]


async def test_a_call_from_within_the_process_has_no_client_whose_roots_could_narrow_it(
    roots: tuple[Root, Root],
) -> None:
    host = Host(roots)
    await host.server.call_tool("look")
    assert host.seen == [EVERYTHING]
    host.server.add_middleware(PassScopeOn())
    with narrowed_scope(Scope(("beta",))):
        await host.server.call_tool("look")
    assert host.seen == [EVERYTHING, Scope(("beta",))]


async def test_exempt_tools_are_served_without_asking(roots: tuple[Root, Root], tmp_path: Path) -> None:
    host, answering = Host(roots, exempt=("write",)), Answering(tmp_path / "beta")
    async with answering.client(host) as client:
        assert (await client.call_tool("write")).data == [""]
    assert answering.asked == []


@ERAS
async def test_exempt_are_the_tools_whose_names_begin_so(
    roots: tuple[Root, Root], mode: Any, tmp_path: Path
) -> None:
    host, answering = Host(roots, exempt=("none_", "others_")), Answering(tmp_path / "beta")
    others: FastMCP[Any] = FastMCP("others")

    @others.tool
    @host.server.tool(name="see_others_")
    async def see() -> list[str]:
        return list(current_scope().prefixes)

    host.server.mount(others, namespace="others")
    async with answering.client(host, mode) as client:
        assert (await client.call_tool("others_see")).data == [""]
        assert answering.asked == []
        assert (await client.call_tool("see_others_")).data == ["beta"]
    assert answering.asked == ["roots"]


@ERAS
async def test_a_relayed_call_carries_its_scope_beside_whatever_else_its_client_says_in_meta(
    roots: tuple[Root, Root], mode: Any, tmp_path: Path
) -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        gateway.server.add_middleware(ScopeFromClientRoots(roots))
        answering = Answering(tmp_path / "beta")
        async with Client(gateway.server, mode=mode, roots=answering.list_roots) as client:
            meta = {"test/a": 1, SCOPE_META_KEY: [""]}
            seen = (await client.call_tool("about", meta=meta)).data
    assert seen["meta"] == {"test/a": 1, SCOPE_META_KEY: ["beta"]}


@ERAS
async def test_a_relayed_call_that_may_see_everything_carries_no_scope(
    roots: tuple[Root, Root], mode: Any, tmp_path: Path
) -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        gateway.server.add_middleware(ScopeFromClientRoots(roots[:1]))
        answering = Answering(tmp_path)
        async with Client(gateway.server, mode=mode, roots=answering.list_roots) as client:
            seen = (await client.call_tool("about", meta={"test/a": 1})).data
    assert seen["meta"] == {"test/a": 1}


def test_a_round_that_did_not_begin_here_is_the_tools_own(roots: tuple[Root, Root]) -> None:
    for state, answers in (("own", {"a": 1}), (None, None)):
        assert ScopeRound.of(state, answers, roots) == ScopeRound(
            scope=None, state=state, answers=answers, asked=False
        )


def test_a_tool_that_asks_nothing_and_only_keeps_its_state_still_asks_nothing() -> None:
    asks = ask_for_roots(Scope(("beta",)), InputRequiredResult(request_state="own"))
    assert asks.input_requests is None
    assert asks.request_state is not None


async def test_a_round_without_the_roots_asks_for_them_again(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")
    async with answering.client(host) as client:
        first = await client.session.call_tool("look", {}, allow_input_required=True)
        assert isinstance(first, InputRequiredResult)
        again = await client.session.call_tool(
            "look", {}, request_state=first.request_state, allow_input_required=True
        )
        assert isinstance(again, InputRequiredResult)
        assert list(again.input_requests or {}) == list(first.input_requests or {})
        wrong = await client.session.call_tool(
            "look",
            {},
            request_state=again.request_state,
            input_responses={next(iter(again.input_requests or {})): mcp_types.ElicitResult(action="accept")},
            allow_input_required=True,
        )
    assert isinstance(wrong, mcp_types.CallToolResult)
    assert error_of(wrong)["code"] == "scope_empty"
    assert host.seen == [EMPTY_SCOPE]


async def test_completions_follow_the_scope_and_are_empty_where_the_roots_cannot_be_asked_for(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    host, answering = Host(roots), Answering(tmp_path / "beta")

    @host.server.completion
    async def complete(_ref: Any, _argument: Any, _context: Any) -> list[str]:
        return [*current_scope().prefixes, "end"]

    ref = mcp_types.ResourceTemplateReference(uri="doc://{name}")
    argument = {"name": "name", "value": ""}
    async with answering.client(host, "legacy") as client:
        assert (await client.complete(ref, argument)).values == ["beta", "end"]
    async with answering.client(host) as client:
        assert (await client.complete(ref, argument)).values == ["end"]
    async with Client(host.server) as client:
        assert (await client.complete(ref, argument)).values == ["", "end"]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        pytest.param(["{base}/alpha"], ("alpha",), id="a research folder"),
        pytest.param(["{base}/alpha/"], ("alpha",), id="with a final slash"),
        pytest.param(["{base}"], ("alpha", "beta"), id="the directory that holds both"),
        pytest.param(["file:///"], ("alpha", "beta"), id="the whole file system"),
        pytest.param(["{base}/alpha/reports/2024"], ("alpha/reports/2024",), id="a part"),
        pytest.param(["{base}/alpha/gone"], ("alpha/gone",), id="a part that is not there"),
        pytest.param(["{base}/alphabet"], (), id="a name that only begins alike"),
        pytest.param(["{base}/alpha/../other"], (), id="dots that lead out"),
        pytest.param(["{base}/other/../beta"], ("beta",), id="dots that lead in"),
        pytest.param(["{base}/link"], ("alpha/memos",), id="a link into a folder"),
        pytest.param(["{base}/alpha/out/.."], (), id="dots behind a link that leads out"),
        pytest.param(["{base}/alpha/%72eports"], ("alpha/reports",), id="percent-encoded"),
        pytest.param(["{base}/alpha/caf%E9"], ("alpha/caf\\xe9",), id="bytes that are not UTF-8"),
        pytest.param(["https://example.org/alpha"], (), id="another scheme"),
        pytest.param(["http://localhost{path}/alpha"], (), id="another scheme of this host"),
        pytest.param(["file://elsewhere{path}/alpha"], (), id="another host"),
        pytest.param(["file://localhost{path}/alpha"], ("alpha",), id="this host by name"),
        pytest.param(["{base}/alpha?x"], (), id="a query"),
        pytest.param(["{base}/alpha#x"], (), id="a fragment"),
        pytest.param(["file:relative"], (), id="a relative path"),
        pytest.param(["{base}/alpha%00"], (), id="a NUL"),
        pytest.param(["file://[broken"], (), id="no URI at all"),
        pytest.param(["{base}/alpha/\ud800"], (), id="half of a surrogate pair"),
        pytest.param([], (), id="no roots"),
        pytest.param(["{base}/alpha", "{base}/alpha/memos"], ("alpha",), id="one within another"),
    ],
)
def test_how_client_roots_map_onto_research_folders(
    roots: tuple[Root, Root], tmp_path: Path, declared: list[str], expected: tuple[str, ...]
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "alpha" / "memos")
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "alpha" / "out").symlink_to(tmp_path / "far" / "away")
    uris = [d.replace("{base}", uri(tmp_path)).replace("{path}", str(tmp_path)) for d in declared]
    assert narrowed_by(roots, uris).prefixes == expected


def test_a_relative_path_is_no_root_wherever_the_server_runs(
    roots: tuple[Root, Root], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert narrowed_by(roots, ["file:alpha", "file:./beta"]) == EMPTY_SCOPE


def test_paths_of_a_single_research_folder_carry_no_name(roots: tuple[Root, Root], tmp_path: Path) -> None:
    assert narrowed_by(roots[:1], [uri(tmp_path / "alpha" / "memos")]) == Scope(("memos",))
    assert narrowed_by(roots[:1], [uri(tmp_path)]) == EVERYTHING


def test_research_folders_within_each_other_are_both_covered(
    roots: tuple[Root, Root], tmp_path: Path
) -> None:
    nested = (roots[0], Root("reports", tmp_path / "alpha" / "reports"))
    assert narrowed_by(nested, [uri(tmp_path / "alpha")]) == Scope(("alpha", "reports"))
    inner = [uri(tmp_path / "alpha" / "reports" / "2024"), uri(tmp_path / "alpha" / "reports")]
    assert narrowed_by(nested, inner) == Scope(("alpha/reports", "reports"))
    assert narrowed_by(nested, inner[:1]) == Scope(("alpha/reports/2024", "reports/2024"))


def test_a_research_folder_behind_a_link_is_found_both_ways(roots: tuple[Root, Root], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "alpha")
    linked = (Root("research", tmp_path / "link"),)
    assert narrowed_by(linked, [uri(tmp_path / "alpha" / "memos")]) == Scope(("memos",))
    assert narrowed_by(linked, [uri(tmp_path / "link" / "memos")]) == Scope(("memos",))


@pytest.mark.parametrize(
    ("carried", "expected"),
    [
        (["beta", "alpha"], ["alpha", "beta"]),
        ([], []),
        ("alpha", []),
        ([1], []),
        ({}, []),
    ],
)
async def test_a_server_narrows_to_the_scope_that_a_request_carries(
    carried: Any, expected: list[str]
) -> None:
    server: FastMCP[Any] = FastMCP("documents", middleware=[ScopeFromRequest()])

    @server.tool
    async def look() -> list[str]:
        return list(current_scope().prefixes)

    async with Client(server) as client:
        assert (await client.call_tool("look", meta={SCOPE_META_KEY: carried})).data == expected
        assert (await client.call_tool("look")).data == [""]
