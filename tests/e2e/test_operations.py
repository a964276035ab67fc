"""What an operator sees of a gateway that serves."""

import httpx
from fastmcp import Client

from research_shared.settings import Settings
from support.clients import Observer, over_http


async def figures(url: str) -> dict[str, float]:
    async with httpx.AsyncClient() as http:
        response = await http.get(url.replace("/mcp", "/metrics"))
    assert response.status_code == 200
    lines = [line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_figures_count_calls_and_show_cache_index_and_trail(
    settings: Settings, observer: Observer
) -> None:
    async with over_http(settings.model_copy(update={"metrics": True})) as url:
        async with Client(url) as client:
            await client.call_tool("search_documents", {"query": "burnout"})
            await client.call_tool("read_document", {"document_path": "missing.md"}, raise_on_error=False)
        shown = await figures(url)
    calls = 'research_calls_total{{method="tools/call",outcome="{}",target="{}"}}'
    assert shown[calls.format("ok", "search_documents")] == 1
    assert shown[calls.format("error", "read_document")] == 1
    assert shown["research_index_documents"] == 10
    assert shown["research_index_passages"] > 5
    assert shown["research_cache_misses_total"] >= 2
    assert shown["research_audit_writable"] == 1
    assert shown["research_audit_records_total"] > 4


async def test_figures_are_not_shown_unless_asked_for(settings: Settings, observer: Observer) -> None:
    async with over_http(settings) as url, httpx.AsyncClient() as http:
        response = await http.get(url.replace("/mcp", "/metrics"))
    assert response.status_code == 404


async def test_readiness_names_the_folder_the_index_and_the_trail(
    settings: Settings, observer: Observer
) -> None:
    async with over_http(settings) as url:
        async with Client(url) as client:
            await client.call_tool("search_documents", {"query": "burnout"})
        async with httpx.AsyncClient() as http:
            response = await http.get(url.replace("/mcp", "/readyz"))
    assert response.status_code == 200
    assert {"roots", "index", "audit"} <= response.json()["checks"].keys()
