"""Documents are opened and listed by `RootsPolicy` alone: nothing else in the code base touches a file of the folder."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = (
    "shared/research_shared",
    "servers/research_documents",
    "servers/research_reasoning",
    "gateway/research_gateway",
)
OPENERS = {
    "open", "open_code", "fdopen", "openat", "FileIO", "read_text", "read_bytes", "pread", "preadv", "mmap",
    "scandir", "listdir", "iterdir", "walk", "fwalk", "glob", "iglob", "rglob", "copyfile", "copytree", "copy2",
    "loadtxt", "PdfReader", "PdfDocument",
}  # fmt: skip
"""Names of functions and methods that open or list files, whatever they are called on."""

THE_POLICY = r"(self\._library|self|library|documents|doors)\.roots\.(open|walk)"
ALLOWED: dict[str, tuple[str, str]] = {
    "shared/research_shared/access/roots.py": (
        r"self\._opener\.open|self\._listing\.walk",
        "the policy, whose opener this is",
    ),
    "shared/research_shared/access/opener.py": (r"self\.open", "opens documents"),
    "shared/research_shared/access/listing.py": (r"os\.scandir", "the listing"),
    "shared/research_shared/access/stored_names.py": (
        r"os\.(open|scandir)",
        "names of a directory, to compare a spelling with them",
    ),
    "shared/research_shared/access/beneath.py": (r"os\.open", "the system calls of the opener"),
    "shared/research_shared/reading/extraction/text.py": (r"os\.pread", "reads what the opener has opened"),
    "shared/research_shared/reading/extraction/_worker.py": (
        r"os\.pread|document_format\.reader\(name\)\.open|Path\('/proc/self/statm'\)\.read_bytes",
        "reads what the opener has opened and handed over, from memory; and how much memory it holds itself",
    ),
    "shared/research_shared/formats/pdf.py": (
        r"pypdfium2\.PdfDocument|pypdf\.PdfReader",
        "reads from memory what a worker was handed",
    ),
    "shared/research_shared/formats/_parts/package.py": (
        r"zipfile\.ZipFile|self\._zip\.open",
        "reads from memory what a worker was handed",
    ),
    "shared/research_shared/formats/mail.py": (
        r"reader\.open",
        "reads an attachment from memory, in the worker",
    ),
    "shared/research_shared/formats/docx.py": (
        r"reader\.open",
        "reads an included document from memory, in the worker",
    ),
    "shared/research_shared/formats/_mail/outlook.py": (
        r"self\._file\.listdir",
        "lists the streams of a message in memory, in the worker",
    ),
    "shared/research_shared/settings/file.py": (r"file\.read_text", "the operator's file of settings"),
    "shared/research_shared/policy/file.py": (r"path\.read_bytes", "the operator's policy"),
    "shared/research_shared/settings/secret_files.py": (
        r"Path\(named\)\.expanduser\(\)\.read_text",
        "secrets in files that the operator names",
    ),
    "shared/research_shared/serving/auth.py": (
        r"settings\.auth_public_key\.read_text",
        "a key that the operator names",
    ),
    "servers/research_documents/search/index/updater.py": (
        r"self\._writer\.open",
        "the index in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/search/index/writer.py": (
        r"self\._store\.open",
        "the index in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/search/index/store.py": (
        r".+",
        "the index in RESEARCH_INDEX_DIR, and nothing else",
    ),
    "servers/research_documents/search/index/directories.py": (
        r"os\.open|parent\.glob|index\.iterdir",
        "the locks and the copies in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/search/index/checksums.py": (
        r"\(directory / META\)\.read_bytes|path\.open|directory\.iterdir",
        "the files of the index in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/search/index/passage_index.py": (
        r"\(directory / META\)\.read_bytes",
        "the state of the index in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/opensearch/engine.py": (
        r"(self\._)?meaning\.open",
        "the model that embeds queries",
    ),
    "servers/research_documents/opensearch/pushing/run.py": (
        r"self\.indexer\.open",
        "the indices of the cluster",
    ),
    "servers/research_documents/opensearch/pushing/lease.py": (
        r"Path\('/proc/sys/kernel/random/boot_id'\)\.read_text",
        "which start of the machine this is",
    ),
    "servers/research_documents/search/engine.py": (
        r"self\._semantic\.open",
        "the vectors in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/search/semantic/local_model.py": (
        r"self\.model\.parent\.glob|path\.open|config\.read_text",
        "the files of the model in RESEARCH_EMBEDDING_DIR",
    ),
    "servers/research_documents/search/semantic/vector_file.py": (
        r"directory\.glob|temporary\.open",
        "the vectors in RESEARCH_INDEX_DIR",
    ),
    "servers/research_documents/search/semantic/_worker.py": (
        r"os\.fdopen",
        "its own standard input and output",
    ),
    "servers/research_reasoning/follow_up.py": (r"sealer\.open", "a sealed token, in memory"),
    "servers/research_reasoning/apps/": (
        r"files\(__package__\)\.joinpath\('answer\.(css|js)'\)\.read_text",
        "what this package brings with it",
    ),
    "shared/research_shared/tasks/": (r"self\._sealer\.open", "a sealed task, in memory"),
    "shared/research_shared/serving/transports/stdio.py": (
        r"os\.open",
        "the null device, in place of the standard input",
    ),
    "shared/research_shared/serving/transports/http.py": (r"door\.open", "the sockets between workers"),
    "gateway/research_gateway/audit/": (r".+", "the audit log, and nothing else"),
    "gateway/research_gateway/app.py": (r"AuditTrail\.open", "the audit log"),
    "gateway/research_gateway/cli/": (
        r"file\.open|client\.path\.read_text|os\.fdopen",
        "files of settings and of clients, which the operator names",
    ),
    "gateway/research_gateway/cli/doctor/": (
        r"os\.walk|walk|INOTIFY_WATCHES\.read_text",
        "counts the names in the operator's folders, for the operator",
    ),
    "gateway/research_gateway/scope/check.py": (
        r"RootsPolicy\.from_settings\(settings\)\.walk",
        "the policy of the folders, for the operator",
    ),
    "gateway/research_gateway/upstreams/offers/pins.py": (
        r"os\.open|path\.read_bytes",
        "the operator's file of accepted tools",
    ),
    "gateway/research_gateway/upstreams/config.py": (r"path\.read_text", "the operator's list of servers"),
}
"""Which calls stand where, and why they open no document."""


def openings(source: str) -> list[str]:
    """The calls in a module that open or list something, as they are written."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        ast.unparse(function)
        for function in calls
        if (isinstance(function, ast.Name) and function.id in OPENERS - {"read_text"})
        or (isinstance(function, ast.Attribute) and function.attr in OPENERS)
    ]


def allowed(module: str, call: str) -> bool:
    if call == "ast.walk" or re.fullmatch(THE_POLICY, call):
        return True
    return any(
        module.startswith(place) and re.fullmatch(pattern, call) for place, (pattern, _) in ALLOWED.items()
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_else_opens_a_document(package: str) -> None:
    found = {
        (module, call)
        for file in (PROJECT / package).rglob("*.py")
        for module in [file.relative_to(PROJECT).as_posix()]
        for call in openings(file.read_text(encoding="utf-8"))
    }
    assert sorted(item for item in found if not allowed(*item)) == []


def test_the_places_that_are_allowed_are_there() -> None:
    assert [place for place in ALLOWED if not (PROJECT / place).exists()] == []


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "Path(path).read_text()",
        "os.open(path, 0)",
        "io.open(path)",
        "root.rglob('*')",
        "pypdf.PdfReader(path)",
    ],
)
def test_an_opening_anywhere_else_is_seen(source: str) -> None:
    (call,) = [call for call in openings(source) if call != "Path"]
    assert not allowed("servers/research_documents/server.py", call)
