"""The policy file: whom its rules apply to, what they give, what is wrong with it, and what the trail says of it."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier, RSAKeyPair
from mcp import MCPError

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_gateway.scope.check import own_tools, policy_app, sight_of
from research_shared.access.roots import Root, Scope, narrowed_scope
from research_shared.access.scope import View
from research_shared.errors import ConfigurationError
from research_shared.policy import Caller, Policy, PolicyMiddleware, Rule, load_policy
from research_shared.policy.file import parse_policy
from research_shared.serving.auth import SharedTokens, auth_provider
from research_shared.settings import Settings
from support.results import error_of
from support.serving import serving

TOKEN = "a-token-of-some-length"
POLICY = """
default_principal = "guest"
groups_claim = "realm_access.roles"

[[rules]]
name = "everybody"
principals = ["*"]
allow = "public/**"
tools = ["list_*", "read_*", "search_*"]

[[rules]]
name = "partners"
groups = ["partner"]
allow = ["**"]
deny = ["hr/pay/**"]
tools = ["*"]

[[rules]]
name = "tax people"
claims = { department = ["tax", "audit"], level = "7" }
allow = ["clients/**"]

[[rules]]
name = "no jira for guests"
principals = ["guest"]
deny_tools = ["jira_*"]
"""


def policy() -> Policy:
    return parse_policy(POLICY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("public/a.md", "hr/b.md", "hr/pay/c.md", "clients/d.md"):
        path = tmp_path / "research" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n\nWhat stands in {name.replace('/', ' ')}.\n", encoding="utf-8")
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    return tmp_path / "research"


def settings_of(folder: Path, **changes: Any) -> Settings:
    return Settings(
        roots=(Root("research", folder),),
        model_route="extractive",
        watch=False,
        audit_log=folder.parent / "audit.jsonl",
        policy=folder.parent / "policy.toml",
        **changes,
    )


@pytest.mark.parametrize(
    ("caller", "rules"),
    [
        (Caller(), ["everybody", "no jira for guests"]),
        (Caller(name="alice"), ["everybody"]),
        (
            Caller.of_claims("bob", {"realm_access": {"roles": ["partner"]}}, "realm_access.roles"),
            ["everybody", "partners"],
        ),
        (Caller(name="carol", claims={"department": "audit"}), ["everybody", "tax people"]),
        (Caller(name="dave", claims={"level": 7}), ["everybody", "tax people"]),
        (Caller(name="erin", claims={"level": 8, "department": ["law"]}), ["everybody"]),
    ],
)
def test_rules_apply_by_name_group_and_claim(caller: Caller, rules: list[str]) -> None:
    assert policy().access_of(caller).names == rules


def test_callers_without_authentication_see_nothing_without_a_default_principal() -> None:
    access = parse_policy(POLICY.replace("default_principal", "# ").replace("level = 7", "")).access_of(
        Caller()
    )
    assert access.names == []
    assert not access.scope.admits("public/a.md")
    assert not access.may_call("list_research_documents")


def test_what_one_rule_denies_no_other_gives() -> None:
    rules = (
        Rule(name="a", principals=("*",), allow=("**",), tools=("*",), deny_tools=("read_*",)),
        Rule(
            name="b",
            principals=("x",),
            allow=("HR/pay/a.md",),
            deny=("hr/**", "**/größe.md"),
            tools=("read_document",),
        ),
    )
    access = Policy(rules=rules).access_of(Caller(name="x"))
    admits = access.scope.admits
    assert admits("a.md")
    assert not any(map(admits, ("hr/a.md", "HR/pay/a.md", "x/GRO\u0308ßE.MD", "Größe.md")))
    assert not access.may_call("read_document")
    assert access.may_call("search_documents")


def test_a_slip_in_the_case_of_a_name_shows_too_little() -> None:
    view = View(allow=("Clients/**",), deny=("clients/ACME/**",))
    assert view.admits("Clients/b/a.md")
    assert not view.admits("clients/b/a.md")
    assert not view.admits("Clients/acme/a.md")
    assert view.leads_to("Clients")
    assert not view.leads_to("clients")
    assert not view.leads_to("Clients/Acme/deep")


def test_scopes_with_views_narrow_each_other_and_survive_json() -> None:
    one = Scope(("a",), (View(allow=("**",), deny=("a/x/**",)),))
    two = Scope(("a/y", "a/x"), (View(allow=("a/**",)),))
    both = one.narrowed(two)
    assert both == two.narrowed(one)
    assert [path for path in ("a/x/1.md", "a/y/1.md", "a/1.md", "b/1.md") if both.admits(path)] == [
        "a/y/1.md"
    ]
    assert Scope.from_json(json.loads(json.dumps(both.to_json()))) == both
    with narrowed_scope(one), narrowed_scope(two) as effective:
        assert effective == both


@pytest.mark.parametrize(
    "odd",
    [None, "a", {}, {"prefixes": [""]}, {"prefixes": [""], "views": [{}]}, {"prefixes": [1], "views": []}, [1],
     {"prefixes": [""], "views": [{"allow": ["x" * 2_000], "deny": []}]}, {"prefixes": [""], "views": [{"allow": [1], "deny": []}]}],
)  # fmt: skip
def test_a_scope_that_was_not_written_here_admits_nothing(odd: Any) -> None:
    assert not Scope.from_json(odd).admits("a.md")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("x = ", 1, "Invalid value"),
        ("[[rules]]\nname = 'a'\nprincipals = ['x'\n", 4, ""),
        ("", 1, "rules: is missing"),
        ("rules = 3", 1, "rules: must be a list"),
        ("\ndefault_principle = 'x'\n[[rules]]\nname = 'a'\nprincipals = ['x']", 2, "default_principle: is no key"),
        ("[[rules]]\nprincipals = ['x']", 1, "rules.0.name: is missing"),
        ("[[rules]]\nname = 'a'\nprincipals = ['x']\n[[rules]]\n# c\nname = 'b'\ngroups = ['x']\nalow = []", 8, "rules.1.alow: is no key"),
        ("[[rules]]\nname = 'a'\nprincipals = ['x']\n[[rules]]\nname = 'b'\ngroups = ['x']\nallow = ['hr']", 7, "rules.1.allow: 'hr' has no slash"),
        ("[[rules]]\nname = 'a'\nprincipals = ['x']\nallow = ['/']", 4, "rules.0.allow: '/' names nothing"),
        ("[[rules]]\nname = 'a'\nprincipals = ['x']\nallow = ['" + "a/" * 600 + "']", 4, "rules.0.allow"),
        ("[[rules]]\nname = 'a'\n[rules.claims]\n\ndepartment = 3", 5, "rules.0.claims.department: must be a list"),
        ("[[rules]]\nname = 'a'\nprincipals = ['x']\n\n[[rules]]\nname = 'a'\ngroups = ['x']", 6, "two rules have the name 'a'"),
        ("[[rules]]\nname = 'a'\nallow = ['**']", 2, "'a' applies to nobody"),
        ("[[rules]]\nname = ''\nprincipals = ['x']", 2, "rules.0.name: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_policy_is_named_with_line_and_key(
    tmp_path: Path, text: str, line: int, key: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_policy(path)
    message = caught.value.message
    assert message.startswith(f"RESEARCH_POLICY={path}: line {line}: ")
    assert key in message
    assert "\n" not in message


def test_a_policy_that_cannot_be_read_keeps_the_gateway_from_starting(folder: Path) -> None:
    (folder.parent / "policy.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        build_gateway(settings_of(folder))
    (folder.parent / "policy.toml").unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        build_documents_server(settings_of(folder))


async def seen_by(client: Client[Any]) -> tuple[list[str], list[str]]:
    listed = await client.call_tool("list_research_documents")
    assert listed.structured_content is not None
    return (
        [document["path"] for document in listed.structured_content["documents"]],
        sorted(tool.name for tool in await client.list_tools()),
    )


async def test_over_stdio_the_default_principal_sees_its_folders_and_tools(folder: Path) -> None:
    async with Client(build_gateway(settings_of(folder))) as client:
        assert await seen_by(client) == (
            ["public/a.md"], ["list_research_documents", "read_document", "search_documents"]
        )  # fmt: skip
        hidden = await client.call_tool(
            "summarize_document", {"document_path": "public/a.md"}, raise_on_error=False
        )
        unknown = await client.call_tool("no_such_tool", {}, raise_on_error=False)
        assert error_of(hidden) == error_of(unknown)
        assert error_of(hidden)["code"] == "unknown_tool"


async def test_each_token_is_a_principal_and_a_server_alone_has_the_same_walls(folder: Path) -> None:
    names = SharedTokens([TOKEN])
    access = await names.verify_token(TOKEN)
    assert access is not None
    path = folder.parent / "policy.toml"
    path.write_text(
        f"[[rules]]\nname = 'a'\nprincipals = ['{access.client_id}']\nallow = ['hr/**']\ntools = ['*']",
        encoding="utf-8",
    )
    for build in (build_gateway, build_documents_server):
        server = build(settings_of(folder))
        server.auth = names
        async with serving(server) as served, Client(served.url, auth=TOKEN) as client:
            assert (await seen_by(client))[0] == ["hr/b.md", "hr/pay/c.md"]


async def test_a_token_that_was_given_a_name_is_that_principal_in_policies_and_in_the_trail(
    folder: Path,
) -> None:
    token, unnamed = "c2VjcmV0LW9mLWFubg==", "YW5vdGhlci10b2tlbg=="
    rule = "[[rules]]\nname = 'a'\nprincipals = ['ann@firm']\nallow = ['hr/**']\ntools = ['*']"
    (folder.parent / "policy.toml").write_text(rule, encoding="utf-8")
    settings = settings_of(folder, auth_tokens=f"ann@firm={token}, {unnamed}")
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    async with serving(server) as served:
        async with Client(served.url, auth=token) as client:
            assert (await seen_by(client))[0] == ["hr/b.md", "hr/pay/c.md"]
        async with Client(served.url, auth=unnamed) as client:
            assert await client.list_tools() == []
        with pytest.raises(MCPError):
            async with Client(served.url, auth=f"ann@firm={token}"):
                raise AssertionError
    lines = (folder.parent / "audit.jsonl").read_text(encoding="utf-8")
    principals = [
        record["principal"]["client_id"]
        for record in map(json.loads, lines.splitlines())
        if "principal" in record
    ]
    assert set(principals) == {"ann@firm", f"token-{sha256(unnamed.encode()).hexdigest()[:12]}"}
    assert token not in lines


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (f"ann={TOKEN}1,bob={TOKEN}2,Ann={TOKEN}3", "numbers 1 and 3 have the same"),
        (f"{TOKEN},={TOKEN}2", "number 2 has an empty name"),
        (f"a*={TOKEN}", "number 1 has other characters"),
        (f"[ab]={TOKEN}", "number 1 has other characters"),
        (f"{'n' * 65}={TOKEN}", "number 1 has other characters"),
        (f"Token-0123456789ab={TOKEN}", "number 1 does"),
        ("ann=short==", "number 1 has fewer"),
        (f"ann={TOKEN},bob={TOKEN}", "numbers 1 and 2 are the same"),
        (f"{TOKEN},bob={TOKEN}", "numbers 1 and 2 are the same"),
    ],
)
def test_a_name_of_a_token_that_could_stand_for_another_is_refused_at_the_start(
    tokens: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load({"RESEARCH_AUTH_TOKENS": tokens})
    message = refused.value.message
    assert message.startswith("RESEARCH_AUTH_TOKENS=(hidden): allowed: ")
    assert problem in message
    assert "\n" not in message
    assert TOKEN not in message


@pytest.mark.parametrize(
    "tokens", [TOKEN, f"{TOKEN}==", f"{TOKEN},{TOKEN}", f"{'n' * 64}={TOKEN}", f"0={TOKEN}="]
)
def test_tokens_without_a_name_are_taken_as_before(tokens: str) -> None:
    settings = Settings.load({"RESEARCH_AUTH_TOKENS": tokens})
    assert [token.get_secret_value() for token in settings.auth_tokens] == tokens.split(",")


async def test_the_subject_and_the_claims_of_a_jwt_say_who_calls(folder: Path) -> None:
    pair = RSAKeyPair.generate()
    server = build_gateway(settings_of(folder))
    server.auth = JWTVerifier(public_key=pair.public_key, issuer="i", audience="a")
    claims: dict[str, dict[str, Any]] = {
        "alice": {},
        "bob": {"realm_access": {"roles": ["partner"]}},
        "carol": {"department": ["tax"]},
    }
    seen = {}
    async with serving(server) as served:
        for name, more in claims.items():
            token = pair.create_token(subject=name, issuer="i", audience="a", additional_claims=more)
            async with Client(served.url, auth=token) as client:
                seen[name] = (await seen_by(client))[0]
    assert seen == {
        "alice": ["public/a.md"],
        "bob": ["clients/d.md", "hr/b.md", "public/a.md"],
        "carol": ["clients/d.md", "public/a.md"],
    }


async def test_the_trail_names_the_rules_and_tells_a_wall_from_a_missing_file(folder: Path) -> None:
    async with Client(build_gateway(settings_of(folder))) as client:
        for path in ("hr/b.md", "public/none.md"):
            answer = await client.call_tool("read_document", {"document_path": path}, raise_on_error=False)
            assert error_of(answer)["code"] == "document_not_found"
    records = [
        json.loads(line) for line in (folder.parent / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    ends = [record for record in records if record.get("method") == "tools/call" and "outcome" in record]
    assert [(record["outcome"], record["reason"]) for record in ends] == [
        ("denied", "outside_scope"),
        ("error", "document_not_found"),
    ]
    assert all(record["rules"] == ["everybody", "no jira for guests"] for record in ends)


async def test_a_remote_documents_server_keeps_the_walls_of_the_gateway(folder: Path) -> None:
    async with (
        serving(build_documents_server(settings_of(folder).model_copy(update={"policy": None}))) as remote,
        Client(build_gateway(settings_of(folder, documents_url=remote.url))) as client,
    ):
        assert (await seen_by(client))[0] == ["public/a.md"]
        found = await client.call_tool("search_documents", {"query": "stands"})
        assert [hit["document"] for hit in found.structured_content["matches"]] == ["public/a.md"]
        assert [str(each.uri) for each in await client.list_resources() if each.name != "scope"] == [
            "research://documents/public/a.md"
        ]


async def test_prompts_and_resources_of_a_foreign_server_are_for_those_who_may_use_it() -> None:
    def caller(groups_claim: str) -> Caller:
        return Caller(name=name)

    rules = Policy(
        rules=(
            Rule(name="all", principals=("*",), allow=("**",), tools=("own",)),
            Rule(name="jira", principals=("alice",), tools=("jira_*",)),
        )
    )
    server: FastMCP[Any] = FastMCP(
        "host", middleware=[PolicyMiddleware(rules, namespaces=["jira"], caller=caller)]
    )
    other: FastMCP[Any] = FastMCP("other")

    @other.prompt
    def ask() -> str:
        return "what?"

    @other.resource("data://x")
    def data() -> str:
        return "x"

    @other.resource("data://{name}/y")
    def template(name: str) -> str:
        return name

    @server.prompt
    def own() -> str:
        return "own"

    server.mount(other, namespace="jira")
    seen = {}
    for name in ("alice", "bob"):
        async with Client(server) as client:
            seen[name] = (
                sorted(prompt.name for prompt in await client.list_prompts()),
                [str(each.uri) for each in await client.list_resources()],
                [each.uri_template for each in await client.list_resource_templates()],
            )
            for read in (client.get_prompt("jira_ask"), client.read_resource("data://jira/x")):
                if name == "alice":
                    await read
                else:
                    with pytest.raises(Exception, match=r"(?i)unknown|not found"):
                        await read
    assert seen == {
        "alice": (["jira_ask", "own"], ["data://jira/x"], ["data://jira/{name}/y"]),
        "bob": (["own"], [], []),
    }


def test_policy_check_shows_what_somebody_sees_and_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--policy", str(folder.parent / "policy.toml"), "--root", str(folder)]
    with pytest.raises(SystemExit) as ended:
        policy_app(["check", *options, "--as", "bob", "--group", "partner", "--limit", "2"])
    assert ended.value.code in {0, None}
    assert capsys.readouterr().out.splitlines() == [
        "bob: these rules apply",
        "  everybody (principal *)",
        "  partners (group partner)",
        "may call 6 of 6 tools:",
        "  list_research_documents",
        "  read_document",
        "  search_documents",
        "  summarize_document",
        "  synthesize_research",
        "  verify_quotes",
        "may not call 0 of 6 tools",
        "sees 3 of 4 documents:",
        "  clients/d.md: partners allows **",
        "  hr/b.md: partners allows **",
        "  … and 1 more",
        "does not see 1 of 4 documents:",
        "  hr/pay/c.md: partners allows **, partners denies hr/pay/**",
    ]


@pytest.mark.parametrize("connectors", [True, False])
async def test_policy_check_knows_the_tools_that_are_served_without_building_a_server(
    folder: Path, connectors: bool
) -> None:
    settings = Settings(roots=(Root("research", folder),), connector_tools=connectors)
    gateway = build_gateway(settings)
    served = sorted(tool.name for tool in await gateway.list_tools(run_middleware=False))
    assert own_tools(settings) == served


def test_policy_check_speaks_of_callers_without_a_name_and_without_rules(folder: Path) -> None:
    settings = settings_of(folder)
    assert next(sight_of(policy(), Caller(), settings, limit=1)) == (
        "callers without authentication (guest): these rules apply"
    )
    lonely = Policy(rules=(Rule(name="a", principals=("x",)),))
    lines = list(sight_of(lonely, Caller(name="y"), settings, limit=1))
    assert lines[0] == "y: sees nothing, because no rule applies"
    assert "does not see 4 of 4 documents:" in lines
    assert "  clients/d.md: no rule allows it" in lines


def test_policy_check_ends_with_one_line_for_a_wrong_policy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "policy.toml").write_text("x = 1", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        policy_app(["check", "--policy", str(folder.parent / "policy.toml"), "--root", str(folder)])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


async def test_a_link_to_what_is_behind_a_wall_does_not_exist_in_any_count(folder: Path) -> None:
    (folder / "public" / "link.md").symlink_to("../hr/b.md")
    (folder / "public" / "good.md").symlink_to("a.md")
    async with Client(build_gateway(settings_of(folder))) as client:
        found = await client.call_tool("search_documents", {"query": "stands", "file_pattern": "public/*"})
        assert found.structured_content is not None
        hits = sorted(hit["document"] for hit in found.structured_content["matches"])
        assert hits == ["public/a.md", "public/good.md"]
        assert found.structured_content["total_documents"] == 2
        assert not found.structured_content["truncated"]
        assert (await seen_by(client))[0] == ["public/a.md", "public/good.md"]


def checked(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """What the check says, line by line."""
    with pytest.raises(SystemExit) as ended:
        policy_app(["check", *options])
    assert ended.value.code in {0, None}
    return capsys.readouterr().out.splitlines()


def test_policy_check_knows_callers_by_their_claims_or_as_nobody(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--policy", str(folder.parent / "policy.toml"), "--root", str(folder)]
    claims = ["--claim", "department=tax", "--claim", "level=6", "--claim", "level=7"]
    by_claims = checked(capsys, *options, "--as", "carol", *claims)
    assert by_claims[0] == "carol: these rules apply"
    assert "sees 2 of 4 documents:" in by_claims
    nobody = checked(capsys, *options)
    assert nobody[0] == "callers without authentication (guest): these rules apply"
    assert nobody[3:10] == [
        "may call 3 of 6 tools:",
        "  list_research_documents",
        "  read_document",
        "  search_documents",
        "may not call 3 of 6 tools:",
        "  summarize_document",
        "  synthesize_research",
    ]
    assert "sees 1 of 4 documents:" in nobody


def test_policy_check_names_a_hundred_documents_unless_told_otherwise(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(100):
        (folder / "public" / f"{number}.md").touch()
    lines = checked(capsys, "--policy", str(folder.parent / "policy.toml"), "--root", str(folder))
    assert "  … and 1 more" in lines


def test_policy_check_needs_a_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        policy_app(["check", "--root", str(folder)])
    assert ended.value.code == 2
    assert "no policy" in capsys.readouterr().err
