"""`research-assistant doctor`: what keeps the server from working, or from working well, each with its remedy."""

import os
import resource
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from cyclopts import Parameter
from rich.console import Group
from rich.text import Text

from research_gateway.cli import clients, show
from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import RootOption, as_roots
from research_shared.text.visible import terminal_safe

if TYPE_CHECKING:
    from research_shared.settings import Settings

Status = Literal["ok", "warning", "problem"]

MIN_OPEN_FILES = 1024
MAX_WALKED = 200_000
"""Directories and files that are looked at in the folders; beyond that the counts say that they stop."""
_STATUS_MARKS: Mapping[Status, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
}
_INOTIFY_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do about a warning or a problem."""

    about: str
    status: Status
    text: str
    remedy: str | None = None


@dataclass(slots=True)
class Tree:
    """What is in a folder: how many directories and files, and what cannot be read."""

    directories: int = 0
    documents: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    complete: bool = True


def doctor_command(
    *,
    root: RootOption = None,
    model: Annotated[bool, Parameter(help="Ask the configured model for one short answer.")] = True,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print the findings as JSON.")] = False,
) -> int:
    """Look for what keeps the server from working, with remedies.

    Exit status 0: nothing does; 1: something does.
    """
    findings = list(examine(root, ask_model=model))
    if json_:
        show.print_json([asdict(finding) for finding in findings])
    else:
        show.console().print(_shown(findings))
    return 1 if any(finding.status == "problem" for finding in findings) else 0


def examine(roots: list[str] | None = None, *, ask_model: bool = True) -> Iterator[Finding]:
    """Yield the findings about this machine and the settings in effect. `roots` replace those of the settings."""
    from research_shared.settings import Settings

    yield _python_finding()
    try:
        overrides: dict[str, Any] = (
            {} if not roots else {"roots": tuple(each for given in roots for each in as_roots(given))}
        )
        settings = Settings.load(**overrides)
    except ConfigurationError as error:
        yield Finding(
            about="settings",
            status="problem",
            text=error.message,
            remedy="Correct or unset it; `research-assistant config` lists the settings.",
        )
        yield from _client_findings()
        return
    yield Finding(about="settings", status="ok", text="all of them are valid")
    directories = 0
    for each in settings.roots:
        tree = walk(each.directory, include_hidden=settings.include_hidden)
        directories += tree.directories
        yield from _root_finding(each.name, each.directory, tree)
    yield from _readers_finding()
    yield from _ocr_finding(settings)
    yield _index_finding(settings)
    yield _meaning_finding(settings, ask=ask_model)
    yield _watching_finding(settings, directories)
    yield _open_files()
    yield from _trail_finding(settings)
    yield from _login_finding(settings)
    yield from _model_finding(settings, ask=ask_model)
    yield from _client_findings()


def walk(directory: Path, *, include_hidden: bool) -> Tree:
    """Count what is in a folder. Links are not followed."""
    from research_shared.formats import media_type_of

    tree = Tree()
    seen = 0

    def failed(error: OSError) -> None:
        tree.closed.append(str(error.filename))

    for where, folders, files in os.walk(directory, onerror=failed):
        tree.directories += 1
        folders[:] = [name for name in folders if include_hidden or not name.startswith(".")]
        for name in (name for name in files if include_hidden or not name.startswith(".")):
            path = Path(where) / name
            if media_type_of(name) is None:
                tree.unread.append(name)
                continue
            tree.documents[path.suffix.lower()] += 1
            if not os.access(path, os.R_OK):
                tree.closed.append(str(path))
        seen += len(files) + 1
        if seen > MAX_WALKED:
            tree.complete = False
            break
    return tree


def _python_finding() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(about="python", status="ok", text=f"{version} at {sys.executable}")


def _root_finding(name: str, directory: Path, tree: Tree) -> Iterator[Finding]:
    from research_shared.access.unread import count_of_unread

    about = f"folder {name}"
    if not directory.is_dir():
        yield Finding(
            about=about,
            status="problem",
            text=f"{directory} is not a directory",
            remedy="Create it, or name another with RESEARCH_ROOTS or --root DIR.",
        )
        return
    if not os.access(directory, os.R_OK | os.X_OK):
        yield Finding(
            about=about,
            status="problem",
            text=f"{directory} cannot be read by this user",
            remedy=f"Let the server's user read it: chmod u+rx {directory}",
        )
        return
    documents = tree.documents
    count = sum(documents.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in documents.most_common(6))
    if not count:
        yield Finding(
            about=about,
            status="warning",
            text=f"{directory} holds no document",
            remedy="Is something mounted there? Put documents into it, or name another folder with --root DIR.",
        )
    else:
        more = "" if tree.complete else f" in the first {MAX_WALKED} entries"
        yield Finding(about=about, status="ok", text=f"{directory}: {count} documents{more} ({kinds})")
    if unread := count_of_unread(tree.unread):
        yield Finding(
            about=about,
            status="warning",
            text=unread,
            remedy="Save them in a format that is read; the answer of a tool names the remedy for each.",
        )
    if closed := tree.closed:
        yield Finding(
            about=about,
            status="problem",
            text=f"{len(closed)} files or folders cannot be read by this user, such as {closed[0]}",
            remedy="Give the server's user permission to read them.",
        )


def _readers_finding() -> Iterator[Finding]:
    from research_shared.formats import formats

    missing = [each for each in formats() if each.readers and not any(r.installed for r in each.readers)]
    for each in missing:
        packages = sorted({package for reader in each.readers for package in reader.packages})
        yield Finding(
            about="formats",
            status="problem",
            text=f"{each.title}: no reader is installed",
            remedy=f"pip install {' or '.join(packages)}",
        )
    if not missing:
        suffixes = sorted({suffix for each in formats() for suffix in each.media_types})
        yield Finding(about="formats", status="ok", text=f"readers for {' '.join(suffixes)}")


def _ocr_finding(settings: "Settings") -> Iterator[Finding]:
    wanted = getattr(settings, "ocr", None) == "tesseract"
    program = shutil.which("tesseract")
    if wanted and program is None:
        yield Finding(
            about="ocr",
            status="problem",
            text="RESEARCH_OCR=tesseract, and there is no program tesseract",
            remedy="Install it: apt install tesseract-ocr, or brew install tesseract.",
        )
    elif wanted:
        yield Finding(about="ocr", status="ok", text=f"{program}")
    else:
        yield Finding(
            about="ocr",
            status="ok",
            text="off: scanned pages are named and not read (RESEARCH_OCR=tesseract reads them)",
        )


def _index_finding(settings: "Settings") -> Finding:
    directory = settings.index_dir
    if directory is None:
        return Finding(
            about="index",
            status="warning",
            text="in memory: each start reads the whole folder again",
            remedy="Keep it: RESEARCH_INDEX_DIR=auto, or --index auto.",
        )
    for each in settings.roots:
        if directory == each.directory or each.directory in directory.parents:
            return Finding(
                about="index",
                status="problem",
                text=f"{directory} is inside the research folder {each.directory}",
                remedy="Name a directory elsewhere, or RESEARCH_INDEX_DIR=auto.",
            )
    problem = _unwritable(directory)
    if problem is not None:
        return Finding(
            about="index",
            status="problem",
            text=f"{directory} cannot be written: {problem}",
            remedy="Make it writable for the server's user, or set RESEARCH_INDEX_DIR=auto.",
        )
    return Finding(about="index", status="ok", text=f"{directory}")


def _meaning_finding(settings: "Settings", *, ask: bool) -> Finding:
    """Return the state of hybrid search: whether its packages are there, its model answers, and what is embedded."""
    about = "hybrid search"
    if settings.embedding_dir is None and settings.embedding_url is None:
        return Finding(
            about=about,
            status="ok",
            text="off: RESEARCH_EMBEDDING_DIR or RESEARCH_EMBEDDING_URL adds it (docs/search.md)",
        )
    from research_documents.search.semantic import EmbeddingFailed
    from research_documents.search.semantic.build import missing_packages, tried

    if missing := missing_packages(settings):
        return Finding(
            about=about,
            status="problem",
            text=f"not installed: {', '.join(missing)}",
            remedy="pip install 'research-assistant-mcp[semantic]'",
        )
    named = str(settings.embedding_dir or f"{settings.embedding_model} at {settings.embedding_url}")
    if not ask:
        return Finding(about=about, status="ok", text=f"{named} (not asked)")
    try:
        dimension, kept = anyio.run(tried, settings)
    except EmbeddingFailed as failure:
        return Finding(
            about=about,
            status="problem",
            text=f"{named}: {failure}",
            remedy="Have RESEARCH_EMBEDDING_DIR name a directory with model.onnx and tokenizer.json, or check "
            "RESEARCH_EMBEDDING_URL, _MODEL and _KEY.",
        )
    share = (
        "vectors are made anew at each start"
        if settings.index_dir is None
        else f"{kept or 0:,} vectors are kept"
    )
    return Finding(about=about, status="ok", text=f"{named} answers with {dimension} components; {share}")


def _unwritable(directory: Path) -> str | None:
    """Return why no file can be made in a directory, or in the first one above it that exists; None if one can."""
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _unusable_for_login(directory: Path) -> str | None:
    from research_shared.serving.login import open_to_others

    return _unwritable(directory) or open_to_others(directory)


def _watching_finding(settings: "Settings", directories: int) -> Finding:
    if not settings.watch:
        return Finding(
            about="watching",
            status="warning",
            text=f"off: changes are seen after {settings.rescan_interval_s:g} s",
            remedy="Set RESEARCH_WATCH=true.",
        )
    try:
        limit = int(_INOTIFY_WATCHES.read_text())
    except (OSError, ValueError):
        return Finding(about="watching", status="ok", text=f"{directories} directories")
    if directories > limit:
        return Finding(
            about="watching",
            status="problem",
            text=f"{directories} directories, and this machine allows {limit} watches a user",
            remedy=f"sysctl fs.inotify.max_user_watches={2 * directories}; until then changes are found by scans.",
        )
    return Finding(about="watching", status="ok", text=f"{directories} directories, {limit} watches allowed")


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        return Finding(
            about="open files",
            status="warning",
            text=f"this process may open {soft} files, enough for few clients",
            remedy=f"ulimit -n {4 * MIN_OPEN_FILES}, or LimitNOFILE= in the service's unit.",
        )
    return Finding(about="open files", status="ok", text=f"{soft} allowed")


def _trail_finding(settings: "Settings") -> Iterator[Finding]:
    if settings.audit_log is None:
        yield Finding(
            about="audit",
            status="warning",
            text="the trail goes to standard error",
            remedy="Keep it: RESEARCH_AUDIT_LOG=/var/log/research-assistant/audit.jsonl.",
        )
        return
    for each in settings.roots:
        if each.directory in settings.audit_log.parents:
            yield Finding(
                about="audit",
                status="problem",
                text=f"{settings.audit_log} is inside the research folder {each.directory}",
                remedy="Name a file elsewhere with RESEARCH_AUDIT_LOG.",
            )
            return
    problem = _unwritable(settings.audit_log.parent)
    if problem is not None or not settings.audit_log.parent.is_dir():
        yield Finding(
            about="audit",
            status="problem",
            text=f"{settings.audit_log} cannot be written: {problem or 'its directory is missing'}",
            remedy="Make the directory, writable for the server's user: without the trail no call is served.",
        )
        return
    yield Finding(about="audit", status="ok", text=f"{settings.audit_log}")
    if settings.audit_key is None:
        yield Finding(
            about="audit",
            status="warning",
            text="the trail is not signed: who can write the file can make it anew",
            remedy="Set RESEARCH_AUDIT_KEY to at least 32 random bytes.",
        )


def _login_finding(settings: "Settings") -> Iterator[Finding]:
    """Yield what is found about the login, if there is one: nothing is registered, and nobody logs in."""
    if settings.login is None:
        return
    if settings.auth_issuer is not None:
        from research_shared.serving.login import discover

        try:
            discover(settings.auth_issuer)
        except ConfigurationError as error:
            yield Finding(
                about="login",
                status="problem",
                text=error.message,
                remedy="Name the issuer exactly as it calls itself, and let this machine reach it.",
            )
            return
    if settings.login_dir is not None and (problem := _unusable_for_login(settings.login_dir)) is not None:
        yield Finding(
            about="login",
            status="problem",
            text=f"{settings.login_dir} cannot be used: {problem}",
            remedy="Make it writable for the server's user alone: without it nobody can log in.",
        )
        return
    if settings.logs_in_at_google and settings.policy is None:
        yield Finding(
            about="login",
            status="warning",
            text="everybody with a Google account may log in, if the application is not internal",
            remedy="Set RESEARCH_POLICY to rules that name the domain of the firm.",
        )
        return
    yield Finding(
        about="login",
        status="ok",
        text=f"{settings.login}: clients of {settings.public_url}/mcp are led to it",
    )


def _model_finding(settings: "Settings", *, ask: bool) -> Iterator[Finding]:
    if settings.provider is None:
        yield Finding(
            about="model",
            status="ok" if settings.model_route == "extractive" else "warning",
            text="none of its own: clients with sampling give theirs, for others answers are chosen sentences or errors",
            remedy="Set RESEARCH_PROVIDER, RESEARCH_PROVIDER_MODEL and RESEARCH_PROVIDER_KEY (docs/providers.md).",
        )
        return
    named = f"{settings.provider_model} of {settings.provider}"
    if not ask:
        yield Finding(about="model", status="ok", text=f"{named} (not asked)")
        return
    problem = _asked(settings)
    if problem is None:
        yield Finding(about="model", status="ok", text=f"{named} answers")
    else:
        message, _, hint = problem.partition("\nHint: ")
        yield Finding(about="model", status="problem", text=f"{named}: {message}", remedy=hint or None)


def _asked(settings: "Settings") -> str | None:
    """Have the provider's model summarize a short note; return the error of the tool, or None."""
    from research_gateway.cli.session import CallFailed, Session, session_of
    from research_shared.root import Root

    with tempfile.TemporaryDirectory(prefix="research-assistant-") as directory:
        folder = Path(directory) / "folder"
        folder.mkdir()
        (folder / "note.md").write_text(
            "# Note\n\nThe office in Leeds opened on 4 May 2021.\n", encoding="utf-8"
        )
        changes = {
            "roots": (Root("check", folder),),
            "model_route": "provider",
            "index_dir": None,
            "watch": False,
            "audit_log": Path(directory) / "audit.jsonl",
            "retry_attempts": 1,
        }

        async def job(session: Session) -> str | None:
            try:
                await session.call("summarize_document", document_path="note.md", summary_length="brief")
            except CallFailed as error:
                return str(error)
            return None

        return session_of(settings.model_copy(update=changes), job)


def _client_findings() -> Iterator[Finding]:
    found = False
    for client, name, entry in clients.entries():
        found = True
        if isinstance(entry, ConfigurationError):
            yield Finding(
                about=client.title, status="warning", text=entry.message, remedy="Look at the file by hand."
            )
        elif not Path(entry["command"]).is_absolute():
            yield Finding(
                about=client.title,
                status="warning",
                text=f"the server {name} is started as {entry['command']}, which needs the client's PATH",
                remedy=f"Write {clients.server_command()} in {client.path}.",
            )
        elif not os.access(entry["command"], os.X_OK):
            yield Finding(
                about=client.title,
                status="problem",
                text=f"the server {name} is started as {entry['command']}, which is no program",
                remedy=f"Write {clients.server_command()} in {client.path}.",
            )
        else:
            yield Finding(about=client.title, status="ok", text=f"starts {entry['command']} as {name}")
    if not found:
        yield Finding(
            about="clients",
            status="warning",
            text="no client on this machine has this server in its configuration",
            remedy=f"research-assistant install {' | '.join(clients.CLIENTS)}",
        )


def _shown(findings: list[Finding]) -> Group:
    lines: list[Text] = []
    for finding in findings:
        mark, style = _STATUS_MARKS[finding.status]
        line = Text(f"{mark} ", style=style)
        line.append(f"{finding.about}: ", style="bold").append(terminal_safe(finding.text), style="default")
        lines.append(line)
        if finding.remedy is not None and finding.status != "ok":
            lines.append(Text(f"    → {terminal_safe(finding.remedy)}", style="default"))
    counts = Counter(finding.status for finding in findings)
    lines.append(Text(f"{counts['problem']} problems, {counts['warning']} warnings", style="dim"))
    return Group(*lines)
