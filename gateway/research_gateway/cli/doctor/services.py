"""The servers that others may share with this one: the search cluster, and the store of the tasks."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from research_gateway.cli.doctor.finding import Finding
from research_gateway.cli.doctor.machine import is_installed
from research_shared.base_errors import ConfigurationError
from research_shared.text.sizes import counted

if TYPE_CHECKING:
    from research_documents.opensearch import IndexNames, PushState
    from research_documents.opensearch.client import ClusterClient
    from research_shared.settings import Settings

PATIENCE_S = 3.0
"""Seconds for one answer. `doctor` is run when something is wrong, and what does not answer is to be named, not waited for."""


def _cluster_problem(text: str, remedy: str) -> Finding:
    return Finding(about="search cluster", status="problem", text=text, remedy=remedy)


def cluster_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield whether the search cluster answers, and can answer searches in the folders of the settings.

    It is asked as a server asks it. Whether it takes a push is only told as far as the user of the server may know.
    """
    from research_documents.opensearch import IndexNames
    from research_documents.opensearch.client import ClusterClient, ClusterFailed

    try:
        client = ClusterClient.from_settings(settings, timeout_s=PATIENCE_S)
    except ConfigurationError as error:
        yield _cluster_problem(error.message, "Name the file of an authority in PEM with SSL_CERT_FILE.")
        return
    try:
        yield from _found_on(client, IndexNames(prefix=settings.search_index), settings)
    except ClusterFailed as failure:
        yield _cluster_problem(failure.message, failure.hint)
    finally:
        client.close()


def _found_on(client: "ClusterClient", names: "IndexNames", settings: "Settings") -> Iterator[Finding]:
    from research_documents.opensearch.layout import CLUSTER_SCHEMA
    from research_documents.opensearch.pushing import ClusterIndex
    from research_documents.opensearch.pushing.lease import is_at_work
    from research_documents.opensearch.pushing.origin import names_of, other_roots

    index = ClusterIndex(client, names, attempts=1)
    schema, state = index.schema(), index.state()
    if schema is None or state is None:
        yield _cluster_problem(
            f"there is no index {names.prefix!r} yet", "Push the folder: research-assistant index push."
        )
        return
    if schema != CLUSTER_SCHEMA:
        yield _cluster_problem(
            f"the index has the schema {schema or '(none)'}, and this version needs {CLUSTER_SCHEMA}",
            "Push the folder again with this version: research-assistant index push --full.",
        )
        return
    if difference := other_roots(state, names_of(settings.roots)):
        yield _cluster_problem(
            difference,
            "Name the folders as the indexer does (RESEARCH_ROOTS=name=directory), or set RESEARCH_SEARCH_INDEX to their index.",
        )
        return
    yield from _locks(client, names)
    now = datetime.now(UTC)
    at_work = bool(state.waiting) and is_at_work(client, names, now=now)
    yield from _push_findings(state, settings, now=now, at_work=at_work)
    documents, without_text, passages = index.counts()
    yield Finding(
        about="search cluster",
        status="ok",
        text=f"{counted(documents, 'document')} with {counted(passages, 'passage')}, and {without_text} without text",
    )


def _push_findings(
    state: "PushState", settings: "Settings", *, now: datetime, at_work: bool
) -> Iterator[Finding]:
    """Yield what is wrong with the last push. `at_work`: whether an indexer pushes what waits."""
    about = "search cluster"
    here = settings.search_folder_id or ""
    if state.folder_id and state.folder_id != here:
        yield Finding(
            about=about,
            status="warning",
            text=f"the index was pushed with RESEARCH_SEARCH_FOLDER_ID={state.folder_id}, and {f'this is {here}' if here else 'none is set here'}: "
            "a push with these settings is refused",
            remedy="Set RESEARCH_SEARCH_FOLDER_ID as the indexer has it, or RESEARCH_SEARCH_INDEX to the index of this folder.",
        )
    agreed = f"the index last agreed with the folder at {state.agreed_at}"
    if state.waiting and not at_work:
        yield Finding(
            about=about,
            status="warning",
            text=f"the push that began at {state.begun_at} has not ended, and no indexer is at work: "
            f"{state.waiting} of {counted(state.listed, 'document')} are still to be pushed; "
            + (agreed if state.agreed_at else "no push has ended yet"),
            remedy="See what ended the indexer, such as a limit of time or memory, and push again: research-assistant index push.",
        )
    elif not state.agreed_at:
        yield Finding(
            about=about,
            status="warning",
            text="no push has ended yet: searches miss documents",
            remedy="See whether an indexer is at work, or push again: research-assistant index status.",
        )
    elif state.is_old(now, rescan_s=settings.rescan_interval_s):
        told = state.told_at not in {"", state.agreed_at}
        listed = f", and the folder was last listed at {state.told_at}" if told else ""
        follows = ", and its indexer is silent" if state.watching else ""
        yield Finding(
            about=about,
            status="warning",
            text=f"{agreed}{listed}{follows}",
            remedy="Push every day, or let an indexer follow the folder: research-assistant index push --watch.",
        )
    if state.failed:
        yield Finding(
            about=about,
            status="warning",
            text=f"the cluster refused {counted(state.failed, 'document')} in the last push",
            remedy="Push again, which names them: research-assistant index push.",
        )


def _locks(client: "ClusterClient", names: "IndexNames") -> Iterator[Finding]:
    """Yield a problem if indices can only be read. A user who may not look at settings, as that of a server, is told nothing."""
    from research_documents.opensearch.client import ClusterFailed

    try:
        answers = [
            client.request("GET", f"/{alias}/_settings") for alias in (names.passages, names.documents)
        ]
    except ClusterFailed as failure:
        if failure.status == HTTPStatus.FORBIDDEN:
            return
        raise
    described = [
        each["settings"]["index"].get("blocks", {}) for answer in answers for each in answer.values()
    ]
    blocks = sorted({name for each in described for name, value in each.items() if value == "true"})
    if "read_only_allow_delete" in blocks:
        yield _cluster_problem(
            "the disk of the search cluster is too full: its indices can only be read",
            "Free space on the cluster's disks. It lifts the block by itself.",
        )
    elif blocks:
        yield _cluster_problem(
            f"the indices are blocked ({', '.join(f'index.blocks.{name}' for name in blocks)}): pushing fails",
            "Set these to null in the settings of the indices, when what they were set for is done.",
        )


def _tasks_problem(text: str, remedy: str) -> Finding:
    return Finding(about="tasks", status="problem", text=text, remedy=remedy)


def task_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield whether the store of the tasks answers and keeps what it is given; nothing where tasks are kept in the process."""
    if settings.tasks_off or settings.tasks_in_memory or not is_installed("redis"):
        return
    if not settings.state_keys:
        yield _tasks_problem(
            "RESEARCH_TASKS_URL names a server, which holds tasks only sealed, and there is no key",
            "Set RESEARCH_STATE_KEYS, to the same for all gateways and workers.",
        )
        return
    from redis.exceptions import (
        AuthenticationError,
        BusyLoadingError,
        NoPermissionError,
        RedisError,
        ResponseError,
    )

    try:
        facts = _redis_facts(settings.tasks_url.get_secret_value())
    except AuthenticationError:
        yield _tasks_problem(
            "the server of RESEARCH_TASKS_URL does not accept the user and password in it",
            "Correct them: redis://USER:PASSWORD@HOST:6379/0, best in the file that RESEARCH_TASKS_URL_FILE names.",
        )
    except NoPermissionError:
        yield Finding(
            about="tasks",
            status="ok",
            text="the server answers; its user may not ask what it evicts (INFO)",
        )
    except BusyLoadingError:
        yield _tasks_problem(
            "the server of RESEARCH_TASKS_URL is still loading its data", "Wait, and look at its log."
        )
    except ResponseError:  # what it says might quote anything
        yield _tasks_problem(
            "the server of RESEARCH_TASKS_URL answers with an error",
            "Look at its log, and whether the number of the database in the address exists.",
        )
    except (ValueError, TypeError):  # what they say quotes the address, which may hold a password
        yield _tasks_problem(
            "the address in RESEARCH_TASKS_URL cannot be used",
            "Write redis://USER:PASSWORD@HOST:6379/0, with / @ : ? # in the password as %2F %40 %3A %3F %23.",
        )
    except (RedisError, OSError) as error:
        secure = "certificate" in str(error).lower() or "ssl" in str(error).lower()
        yield _tasks_problem(
            "there is no secure connection to the server of RESEARCH_TASKS_URL: its certificate or protocol is not accepted"
            if secure
            else "the server of RESEARCH_TASKS_URL cannot be reached",
            "Name the authority of its certificate with SSL_CERT_FILE, and check whether it speaks TLS (rediss://)."
            if secure
            else "Check the address, and that Redis or Valkey is running there.",
        )
    else:
        yield from _kept(facts)


def _redis_facts(url: str) -> Mapping[str, Any]:
    """Return what the server says about itself.

    Raises:
        redis.exceptions.RedisError, OSError: it does not answer, or with an error.
        ValueError, TypeError: the client does not take the address. The message may quote it.
    """
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from research_shared.tasks.stores.redis_store import redis_url

    with Redis.from_url(
        redis_url(url),
        socket_timeout=PATIENCE_S,
        socket_connect_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        client.ping()
        facts: Mapping[str, Any] = client.info()
        return facts


def _kept(facts: Mapping[str, Any]) -> Iterator[Finding]:
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    version = facts.get("valkey_version") or facts.get("redis_version") or "of unknown version"
    if facts.get("role") in {"slave", "replica"}:
        yield _tasks_problem(
            "the server of RESEARCH_TASKS_URL is a replica, which takes no tasks",
            "Name its primary in RESEARCH_TASKS_URL.",
        )
    elif policy != "noeviction" and facts.get("maxmemory"):
        yield Finding(
            about="tasks",
            status="warning",
            text=f"the server may drop tasks and results when its memory is full (maxmemory-policy {policy})",
            remedy="Set maxmemory-policy to noeviction, or give the tasks a server of their own.",
        )
    else:
        yield Finding(
            about="tasks", status="ok", text=f"the server answers (version {version}), and evicts nothing"
        )
