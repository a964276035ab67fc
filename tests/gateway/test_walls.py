"""Walls between people: what the operator's policy keeps from a caller does not exist for it."""

import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp import MCPError
from mcp_types import ResourceTemplateReference

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.sizes import FULL

FOLDERS = ("", "hr/", "hr/pay/", "clients/", "clients/acme/", "clients/Acme/", "public/")
NAMES = ("a.md", "b.txt", "Draft.md", "plan.dwg", "scan.pdf", "résumé.md")
WORDS = ("alpha", "beta", "gamma", "delta", "acme", "salary", "owls", "tides")
PATTERNS = (
    "**", "hr/**", "hr/*", "clients/acme/**", "clients/**", "**/draft*", "**/*.md", "/a.md", "public/",
    "clients/acme", "**/pay/**", "/*.txt", "clients/{acme,other}/*", "**/r?sumé.md", "**/report.md",
)  # fmt: skip
TEMPLATE = ResourceTemplateReference(type="ref/resource", uri="research://documents/{path*}")


def translated(pattern: str) -> str:
    """A pattern as a regular expression: a second opinion on what patterns mean."""
    text = pattern.strip("/") + "/**" if pattern in {"public/", "clients/acme"} else pattern.lstrip("/")
    out = ""
    for piece in re.split(r"(\*\*/|/\*\*$|\*\*|\*|\?|\{.*?\})", text):
        match piece:
            case "**/":
                out += "(?:.*/)?"
            case "/**":
                out += "(?:/.*)?"
            case "**":
                out += ".*"
            case "*":
                out += "[^/]*"
            case "?":
                out += "[^/]"
            case _ if piece.startswith("{"):
                out += f"(?:{'|'.join(piece[1:-1].split(','))})"
            case _:
                out += re.escape(piece)
    return out


def allowed(path: str, allow: Sequence[str], deny: Sequence[str]) -> bool:
    """Whether somebody with these patterns may see a path, by the second opinion."""
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(re.fullmatch(translated(p), path) for p in allow) and not any(
        re.fullmatch(translated(p), each, re.IGNORECASE) for p in deny for each in above
    )


def make_folder(base: Path, random_: random.Random) -> None:
    """Make a folder of documents, files that are not read, and links."""
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
        for name in random_.sample(NAMES, k=random_.randint(1, 4)):
            words = random_.choices(WORDS, k=random_.randint(3, 30))
            text = f"# {words[0]}\n\n{' '.join(words)}.\n\nThe {words[1]} rose by {random_.randint(2, 99)} percent.\n"
            (base / folder / name).write_text(text, encoding="utf-8")
    # Copies and versions of one another, on both sides of walls.
    for number, folder in enumerate(random_.sample(FOLDERS, k=4)):
        (base / folder / "report.md").write_text(
            "# Report\n\nThe same words of the report.\n", encoding="utf-8"
        )
        (base / folder / f"offer v{number}.md").write_text(
            f"# Offer\n\nVersion {number}.\n", encoding="utf-8"
        )
    (base / "public" / "link.md").symlink_to("../hr/a.md")
    (base / "linked").symlink_to("clients/acme")


def copy_allowed(source: Path, target: Path, allow: Sequence[str], deny: Sequence[str]) -> None:
    """Copy what somebody may see, with its times and links, and nothing else."""
    target.mkdir()
    shutil.copystat(source, target)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source).as_posix()
        if not path.is_dir() and allowed(relative, allow, deny):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / relative, follow_symlinks=False)
    # A path through a linked directory has to be allowed as it is written; only this one is asked for.
    if allowed("linked/a.md", allow, deny):
        (target / "linked").symlink_to("clients/acme")


@dataclass
class Observer:
    """What one client observes of a server."""

    client: Client[Any]
    seen: list[Any] = field(default_factory=list)

    async def tool(self, name: str, **arguments: Any) -> Any:
        answer = await self.client.call_tool(name, arguments, raise_on_error=False)
        content = answer.structured_content
        texts: list[Any] = [block.model_dump() for block in answer.content]
        if content and "matches" in content:
            # Scores, and the order that follows from them, may depend on what a caller does not see.
            content["matches"] = sorted(
                ({**hit, "score": None} for hit in content["matches"]),
                key=lambda hit: (hit["document"], hit["line_number"]),
            )
            content["documents"] = sorted(content.get("documents", ()), key=lambda facts: facts["path"])
            texts = []
        if content and "results" in content:
            content["results"] = sorted(content["results"], key=lambda hit: hit["id"])
            texts = []
        if content and (token := content.get("follow_up")):
            # It is sealed anew each time; how long it is tells how much is in it.
            content["follow_up"] = len(token)
            texts = [{**text, "text": text["text"].replace(token, "")} for text in texts]
        self.seen.append((name, arguments, answer.is_error, content, texts, _told(answer.meta)))
        return content


def _told(meta: Any) -> Any:
    return {key: value for key, value in (meta or {}).items() if "error" in key}


async def observed(server: Any, paths: Sequence[str]) -> list[Any]:
    """Everything that a caller can ask for, and the answers."""
    logs: list[Any] = []

    async def keep(message: Any) -> None:
        logs.append((message.level, message.data))

    async with Client(server, log_handler=keep) as client:
        observer = Observer(client)
        tool, seen = observer.tool, observer.seen
        # Until the index is complete, how much of it there is is a matter of time.
        await client.call_tool("search_documents", {"query": "alpha"})
        seen.append(sorted(each.name for each in await client.list_tools()))
        for pattern in ("*", "hr/**", "*.md", "clients/acme", "none/*"):
            await tool("list_research_documents", file_pattern=pattern)
            await tool("search_documents", query="alpha beta salary", file_pattern=pattern, limit=1000)
            await tool("search_documents", query="a[lc]", mode="regex", file_pattern=pattern, limit=1000)
        listed = await tool("list_research_documents", limit=2)
        if listed["next_cursor"]:
            await tool("list_research_documents", limit=2, cursor=listed["next_cursor"])
        await tool("search_documents", query="a[lc]", mode="regex", limit=2)
        for query in ("+salary", '"acme owls"', "ow*", "-alpha", "title:acme", "path:hr", "nosuchword"):
            await tool("search_documents", query=query, limit=1000)
        await tool("search", query="acme salary")
        some = paths if FULL else paths[::3]
        for path in (*some, "a", "draft.md", "HR/A.MD", "acme/a.md", "hr/b.tx", "linked/a.md", "link.md"):
            await tool("read_document", document_path=path)
            await tool("fetch", id=path)
        quotes = [
            {"quote": "The same words of the report."},
            {"quote": "Version 1", "document_path": "offer v1.md"},
        ]
        await tool("verify_quotes", quotes=quotes)
        await tool("summarize_document", document_path="hr/a.md")
        await tool("synthesize_research", research_question="By how much did alpha rise?")
        await tool(
            "synthesize_research", document_paths=["hr/*", "a.md"], research_question="What of salary?"
        )
        seen.append([item.model_dump() for item in await client.list_resources()])
        seen.append([item.model_dump() for item in await client.list_resource_templates()])
        seen.append([item.model_dump() for item in await client.list_prompts()])
        for path in some:
            try:
                seen.append(await client.read_resource(f"research://documents/{path}"))
            except MCPError as error:
                seen.append((error.error.message, error.error.data))
        seen.append(await client.read_resource("research://scope"))
        for typed in ("", "h", "acme", "zzz"):
            seen.append(await client.complete(TEMPLATE, {"name": "path", "value": typed}))
    # Which documents a search names in its log follows the order of their scores.
    return [*seen, sorted(map(str, logs))]


def settings_of(folder: Path, base: Path, **changes: Any) -> Settings:
    return Settings(
        roots=(Root("research", folder),),
        model_route="extractive",
        watch=False,
        connector_tools=True,
        audit_log=base / "audit.jsonl",
        index_wait_s=120,
        extract_workers=1,
        **changes,
    )


def policy_file(base: Path, allow: Sequence[str], deny: Sequence[str]) -> Path:
    path = base / "policy.toml"
    path.write_text(
        'default_principal = "guest"\n[[rules]]\nname = "one"\nprincipals = ["guest"]\ntools = "*"\n'
        f"allow = {list(allow)!r}\n[[rules]]\nname = \"two\"\nprincipals = ['g*']\ndeny = {list(deny)!r}\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("seed", range(12 if FULL else 1))
async def test_a_caller_observes_what_a_server_with_only_its_files_would_show(
    tmp_path: Path, seed: int
) -> None:
    random_ = random.Random(seed)
    full, only = tmp_path / "full" / "research", tmp_path / "only" / "research"
    make_folder(full, random_)
    allow = random_.sample(PATTERNS, k=random_.randint(1, 3))
    deny = random_.sample(PATTERNS[1:], k=random_.randint(0, 2))
    only.parent.mkdir()
    copy_allowed(full, only, allow, deny)
    paths = sorted(path.relative_to(full).as_posix() for path in full.rglob("*") if path.is_file())
    walled = settings_of(full, full.parent, policy=policy_file(tmp_path, allow, deny))
    behind_walls = await observed(build_gateway(walled), paths)
    alone = await observed(build_gateway(settings_of(only, only.parent)), paths)
    assert len(behind_walls) == len(alone) > 50
    for seen, expected in zip(behind_walls, alone, strict=True):
        assert seen == expected, f"{allow} less {deny}: {differing(seen, expected)}"


def differing(one: Any, other: Any) -> str:
    """The first part of an answer that is not the same in the other one."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(f"{key}: {differing(one[key], other[key])}" for key in one if one[key] != other[key])
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next(f"{at}: {differing(a, b)}" for at, (a, b) in pairs if a != b)
    return f"{one!r} is not {other!r}"
