"""Attack a gateway on a file system that finds a file by many spellings of its name.

Usage: python tests/borders/run.py

Mounts `lenient_fs.py` in a temporary directory, as root or with `fusermount3`, with and without numbers that identify a file.
Prints one line for each check and ends with status 1 if one fails.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fastmcp import Client

from research_gateway.app import build_gateway
from research_gateway.scope.client_roots import narrowed_by
from research_shared.access.roots import Root, RootsPolicy
from research_shared.errors import ConfigurationError, ResearchError
from research_shared.settings import Settings
from support.checks import check, failed

CANARY = "quokka"
NFC, NFD = (unicodedata.normalize(form, "Größe.md") for form in ("NFC", "NFD"))
FILES = {
    "Reports/q3.md": "outer text alpha, which rose by 12 percent\n",
    "Reports/2024/notes.md": "notes of the year\n",
    f"Reports/{NFD}": "a size in the decomposed spelling\n",
    "inner/secret.md": f"{CANARY} of the inner folder\n",
    ".hidden.md": f"{CANARY} that is hidden\n",
}
LISTED = ["inner/secret.md", "mnt/Reports/2024/notes.md", f"mnt/Reports/{NFD}", "mnt/Reports/q3.md"]
REFUSED = (
    "mnt/inner/secret.md",
    "mnt/INNER/secret.md",
    "mnt/Inner/SECRET.MD",
    "mnt/.hidden.md",
    "mnt/.HIDDEN.md",
    "mnt/Link.md",
    "mnt/Reports/../INNER/secret.md",
)
LED_TO = {
    "mnt/reports/q3.md": "mnt/Reports/q3.md",
    "mnt/REPORTS/q3.MD": "mnt/Reports/q3.md",
    "mnt/reports/2024/NOTES.md": "mnt/Reports/2024/notes.md",
    f"mnt/Reports/{NFC}": f"mnt/Reports/{NFD}",
    "INNER/secret.md": "inner/secret.md",
}


@contextmanager
def mounted(directory: Path, mount_point: Path, *options: str) -> Iterator[None]:
    """Mount the lenient file system while the block runs."""
    script = Path(__file__).with_name("lenient_fs.py")
    process = subprocess.Popen([sys.executable, script, directory, mount_point, *options])
    try:
        until = time.monotonic() + 20
        while not mount_point.is_mount():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit("the file system cannot be mounted: are /dev/fuse, fuse3 and mfusepy there?")
            time.sleep(0.05)  # another process mounts it; nothing tells when
        yield
    finally:
        command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*command, mount_point], check=False)
        process.wait(timeout=30)


def opens(policy: RootsPolicy, path: str) -> bool:
    """Return whether a document has exactly this path."""
    try:
        document = policy.open(path)
    except ResearchError:
        return False
    os.close(document.fd)
    return True


def check_policy(roots: tuple[Root, Root], *, openat2: bool | None) -> None:
    """Check what opens under which path."""
    policy = RootsPolicy(roots, openat2=openat2)
    how = "as the kernel opens" if openat2 is None else "one component at a time"
    found = sorted(info.path for info in policy.walk())
    check(f"{how}: each document is listed once, as it is stored", found == sorted(LISTED), found)
    for path in LISTED:
        check(f"{how}: {path!a} opens", opens(policy, path))
    for path in (*REFUSED, *LED_TO):
        check(f"{how}: {path!a} does not open", not opens(policy, path))
    single = RootsPolicy(roots[:1], openat2=openat2)
    check(f"{how}: inner/secret.md opens without a nested root", opens(single, "inner/secret.md"))
    check(f"{how}: INNER/secret.md is no second document", not opens(single, "INNER/secret.md"))


def check_bind_mount(base: Path) -> None:
    """Check that a nested root which appears under another name is still nested."""
    outer = base / "outer"
    for name in ("inner", "other"):
        (outer / name).mkdir(parents=True)
    (outer / "inner" / "secret.md").write_text(CANARY, encoding="utf-8")
    for openat2 in (None, False):
        policy = RootsPolicy([Root("outer", outer), Root("inner", outer / "inner")], openat2=openat2)
        subprocess.run(["mount", "--bind", outer / "inner", outer / "other"], check=True)
        try:
            found = [info.path for info in policy.walk()]
            check(
                "a nested root that is mounted elsewhere is listed once", found == ["inner/secret.md"], found
            )
            check("and is not read there", not opens(policy, "outer/other/secret.md"))
        finally:
            subprocess.run(["umount", outer / "other"], check=True)


async def check_gateway(roots: tuple[Root, Root], base: Path) -> None:
    """Check what a client can get."""
    settings = Settings(roots=roots, audit_log=base / "audit.jsonl", model_route="extractive", watch=False)
    async with Client(build_gateway(settings)) as client:

        async def call(tool: str, **arguments: Any) -> Any:
            return await client.call_tool(tool, arguments, raise_on_error=False)

        for path in REFUSED:
            answer = await call("read_document", document_path=path)
            check(f"a client cannot read {path!a}", answer.is_error and CANARY not in str(answer.content))
        for given, stored in LED_TO.items():
            answer = await call("read_document", document_path=given)
            read = (answer.structured_content or {}).get("document_path")
            check(f"{given!a} leads a client to {stored!a}", read == stored, read or answer.content)
        answer = await call("search_documents", query=f"{CANARY} alpha")
        hits = sorted(hit["document"] for hit in answer.structured_content["matches"])
        check("a search finds each document once", hits == ["inner/secret.md", "mnt/Reports/q3.md"], hits)
        answer = await call(
            "synthesize_research",
            document_paths=["mnt/Reports/q3.md", "mnt/reports/q3.md", "mnt/REPORTS/Q3.md"],
            research_question="By how much did alpha rise?",
        )
        used = (answer.structured_content or {}).get("sources_used")
        check("three spellings of a document are one source", used == 1, answer.structured_content)


def check_starts(mount: Path) -> None:
    """Check what the operator may name."""
    try:
        RootsPolicy([Root("a", mount / "inner"), Root("b", mount / "INNER")])
    except ConfigurationError:
        check("a root cannot be given twice in two spellings", passed=True)
    else:
        check("a root cannot be given twice in two spellings", passed=False)
    other = RootsPolicy([Root("mnt", mount), Root("inner", mount / "INNER")])
    check("a nested root in another spelling is nested", not opens(other, "mnt/inner/secret.md"))
    check("a root in another spelling can be read", opens(other, "inner/secret.md"))
    scope = narrowed_by([Root("mnt", mount)], [(mount / "reports").as_uri()])
    check("a client's root in another spelling is the folder as stored", scope.admits("Reports/q3.md"), scope)


def main() -> None:
    """Run all checks on both kinds of file systems."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary).resolve()
        tree, mount = base / "tree", base / "mnt"
        mount.mkdir()
        for path, text in FILES.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text, encoding="utf-8")
        (tree / "Link.md").symlink_to("INNER/secret.md")
        if os.geteuid() == 0:
            check_bind_mount(base)
        roots = (Root("mnt", mount), Root("inner", mount / "inner"))
        for options in (("--inodes",), ()):
            print(f"\nA file has {'one number' if options else 'a number for each spelling'}")
            with mounted(tree, mount, *options):
                check("the file system finds other spellings", (mount / "INNER/SECRET.md").is_file())
                for openat2 in (None, False):
                    check_policy(roots, openat2=openat2)
                check_starts(mount)
                asyncio.run(check_gateway(roots, base))
    if failed:
        sys.exit(f"{len(failed)} checks failed")


if __name__ == "__main__":
    main()
