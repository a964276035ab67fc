"""Settings of searching, and of what search results link to."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from research_shared.document_urls import LinkTemplate
from research_shared.settings.field_types import HTTP_URL, HttpUrl, IndexDir
from research_shared.settings.names import variable_of
from research_shared.settings.sections.section import Section


class SearchingSettings(Section):
    """The index, its freshness, what makes vectors for hybrid search, and the tools of connectors."""

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
        default=30.0,
        gt=0,
        description="time between safety scans while watching, more if a scan takes longer than a tenth of it",
    )

    search_url: str | None = Field(
        default=None,
        pattern=HTTP_URL,
        description="OpenSearch cluster that searches instead of an index of this process, such as "
        "`https://search.example:9200`; see [opensearch.md](opensearch.md)",
    )
    search_index: str = Field(
        default="research",
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,99}$",
        description="how the names of its indices begin; one name for each set of research folders",
    )
    search_folder_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="name of yours for these research folders: an index that was pushed under one takes a push under no other",
    )
    search_user: str | None = Field(default=None, min_length=1, description="user of the cluster")
    search_password: SecretStr | None = Field(default=None, min_length=1, description="password of that user")
    search_key: SecretStr | None = Field(
        default=None, min_length=1, description="bearer token for the cluster, instead of user and password"
    )

    embedding_dir: Path | None = Field(
        default=None,
        description="directory of a local model for hybrid search, with `model.onnx` and `tokenizer.json`; needs the extra "
        "`semantic`",
    )
    embedding_url: HttpUrl | None = Field(
        default=None,
        description="base URL of a server for hybrid search instead, which has OpenAI's `/v1/embeddings`",
    )
    embedding_model: str | None = Field(
        default=None, min_length=1, description="name of that server's model for embeddings"
    )
    embedding_key: SecretStr | None = Field(default=None, description="key of that server")
    embedding_timeout_s: float = Field(default=60.0, gt=0, description="time limit for one answer of it")
    embedding_tokens: int = Field(
        default=256,
        ge=16,
        le=8192,
        description="tokens that the local model reads of a part of a passage (600 bytes)",
    )
    embedding_query_prefix: str | None = Field(
        default=None, description="what the model wants before a query, such as `query: `"
    )
    embedding_passage_prefix: str | None = Field(
        default=None, description="what the model wants before a passage, such as `passage: `"
    )

    connector_tools: bool = Field(
        default=False,
        description="whether `search` and `fetch` are offered too, as ChatGPT and other connectors want them",
    )
    document_url: str | None = Field(
        default=None,
        description="where people open documents, such as `https://dms.example/{path}#page={page}`: the `url` of "
        "`search` and `fetch`, the `research://` URI when not set, and the links of exported answers",
    )

    @model_validator(mode="after")
    def _one_way_to_embed(self) -> Self:
        if self.embedding_dir is not None and self.embedding_url is not None:
            raise ValueError("only one of RESEARCH_EMBEDDING_DIR and RESEARCH_EMBEDDING_URL can be set")
        if self.embedding_url is not None and self.embedding_model is None:
            raise ValueError("RESEARCH_EMBEDDING_URL needs RESEARCH_EMBEDDING_MODEL")
        if self.embedding_url is None:
            for name in ("embedding_model", "embedding_key"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{variable_of(name)} needs RESEARCH_EMBEDDING_URL, which says whose it is"
                    )
        return self

    @model_validator(mode="after")
    def _one_place_to_search(self) -> Self:
        if self.search_url is None:
            for name in ("search_user", "search_password", "search_key", "search_folder_id"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{variable_of(name)} needs RESEARCH_SEARCH_URL, which says whose it is")
            return self
        if self.index_dir is not None:
            raise ValueError(
                "only one of RESEARCH_SEARCH_URL and RESEARCH_INDEX_DIR can be set: what is searched on a cluster is not kept "
                "here as well (RESEARCH_INDEX_DIR=none)"
            )
        if (self.search_user is None) != (self.search_password is None):
            raise ValueError("RESEARCH_SEARCH_USER and RESEARCH_SEARCH_PASSWORD belong together")
        if self.search_user is not None and self.search_key is not None:
            raise ValueError("only one of RESEARCH_SEARCH_USER and RESEARCH_SEARCH_KEY can be set")
        return self

    @field_validator("search_url")
    @classmethod
    def _plain_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # a port that is none
            usable = False
        if not usable or parts.username is not None or parts.query or parts.fragment:
            raise ValueError(
                "an address without user, query or fragment; the user is RESEARCH_SEARCH_USER, the password "
                "RESEARCH_SEARCH_PASSWORD"
            )
        return url.rstrip("/")

    @field_validator("document_url")
    @classmethod
    def _template(cls, url: str | None) -> str | None:
        return url if url is None else LinkTemplate.parse(url).template
