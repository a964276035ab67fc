"""Settings of searching, and of what search results link to."""

from pydantic import Field, field_validator

from research_shared.document_urls import LinkTemplate
from research_shared.settings.field_types import IndexDir
from research_shared.settings.sections.section import Section


class SearchingSettings(Section):
    """The index, its freshness, and the tools of connectors."""

    index_dir: IndexDir = Field(
        default=None,
        description="directory that keeps text and index across restarts; `auto` is one in the user's cache directory",
    )
    index_wait_s: float = Field(
        default=20.0, ge=0, description="time that a search waits for documents which are not indexed yet"
    )
    search_deadline_s: float = Field(
        default=5.0, gt=0, description="time limit for one search, from when the waiting ends"
    )
    watch: bool = Field(default=True, description="whether file changes are watched for")
    rescan_interval_s: float = Field(
        default=30.0, gt=0, description="time between safety scans while watching"
    )

    connector_tools: bool = Field(
        default=False,
        description="whether `search` and `fetch` are offered too, as ChatGPT and other connectors want them",
    )
    document_url: str | None = Field(
        default=None,
        description="where people open documents, such as `https://dms.example/{path}#page={page}`: the `url` of "
        "`search` and `fetch`; the `research://` URI when not set",
    )

    @field_validator("document_url")
    @classmethod
    def _template(cls, url: str | None) -> str | None:
        return url if url is None else LinkTemplate.parse(url).template
