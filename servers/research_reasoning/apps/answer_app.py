"""The MCP App of an answer: a `ui://` resource that clients with the extension show in place of its text.

The server renders the answer and gives it in the `_meta` of the result, only to clients that declare the extension. The
app speaks with its host and shows what it is given. It is one document that loads nothing, and calls no tool, so that it
works under any name that its server is mounted as.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastmcp.apps import UI_MIME_TYPE, AppConfig, ResourceCSP, app_config_to_meta_dict
from fastmcp.resources import Resource, TextResource
from fastmcp.server.providers import Provider
from fastmcp.utilities.versions import VersionSpec
from pydantic import AnyUrl

from research_reasoning.apps.answer_page import document, page_content, wanted_lines
from research_reasoning.exports.references import Linker
from research_shared.errors import ResearchError
from research_shared.reading.library import Library
from research_shared.tools.names import ANSWER_APP_URI

PAGE_META_KEY: Final = "io.github.research-assistant-mcp/page"
"""Key of the rendered answer in the `_meta` of a result."""
MAX_CONTENT_BYTES: Final = 256 * 1024
"""Size of a rendered answer, which travels besides its text and its structured form in one event of at most 1 MiB."""
APP_TITLE: Final = "Research answer"


class AnswerApp(Provider):
    """Gives the app at `ANSWER_APP_URI`. It is not listed: the tool names it, and lists of resources are for documents."""

    async def _get_resource(self, uri: str, version: VersionSpec | None = None) -> Resource | None:
        del version
        return _app_resource() if uri == ANSWER_APP_URI else None


@cache
def _app_resource() -> Resource:
    script = files(__package__).joinpath("answer.js").read_text(encoding="utf-8")
    body = '<p class="muted" role="status">Waiting for the answer…</p>\n<main aria-busy="true"></main>'  # filled by the script
    return TextResource(
        uri=AnyUrl(ANSWER_APP_URI),
        name="answer",
        title=APP_TITLE,
        mime_type=UI_MIME_TYPE,
        text=document(title=APP_TITLE, body=body, script=script),
        meta={"ui": app_config_to_meta_dict(AppConfig(csp=ResourceCSP(), prefers_border=True))},
    )


async def answer_meta(result: Mapping[str, Any], *, library: Library, link: Linker) -> dict[str, Any] | None:
    """Return the `_meta` with the rendered answer; None if that is too large, so that the app shows the text.

    The lines around the quotes are read within the scope of the request. `link` gives the addresses of documents.
    """
    for context in (await _lines_around_quotes(result, library), {}):
        content = page_content(result, link=link, context=context)
        if len(content.encode()) <= MAX_CONTENT_BYTES:
            return {PAGE_META_KEY: content}
    return None


async def _lines_around_quotes(result: Mapping[str, Any], library: Library) -> dict[tuple[str, int], str]:
    context: dict[tuple[str, int], str] = {}
    for path, spans in wanted_lines(result).items():
        try:
            text = await library.read(path)
        except (
            ResearchError
        ):  # it was there when its quotes were looked up; they are shown without their surroundings
            continue
        for first, last in spans:
            context.update(
                ((path, number), line) for number, line in enumerate(text.lines(first, last), first)
            )
    return context
