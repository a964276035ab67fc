"""A research folder full of traps, next to a directory that nobody may see."""

import os
import socket
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from support.pdf_files import plain_pdf

CANARY = "CANARY-5b1e0f"
"""Stands only outside the folder and behind hidden names: it must never come out."""
SECRET = f"{CANARY} zebrafinch quokka\n"
"""What is outside also has words of its own, so that it can be searched for without naming the canary."""
INSIDE = "wombat inside\n"

NFC = unicodedata.normalize("NFC", "Größe.md")
NFD = unicodedata.normalize("NFD", "Größe.md")

ODD_NAMES = (
    b"caf\xe9.md",
    b"two\nlines.md",
    b"back\\slash.md",
    b"100%41.md",
    b"%2e%2e%2foutside%2fsecret.md",
    b"$HOME.md",
    b"~.md",
    b"~root.md",
    b"{a,b}.md",
    b"[x].md",
    b"a b.md",
    b"a.md .md",
    b"-rf.md",
    b"con.md",
    b"nul.txt",
    b"c:notes.md",
    b"'; DROP TABLE.md",
    b"<script>.md",
    NFC.encode(),
    "\uff0e\uff0e.md".encode(),
    "\u202efdp.md".encode(),
)


@dataclass(frozen=True)
class World:
    """Where everything is. `base` must not be seen anywhere, as it is a path of the server."""

    base: Path
    folder: Path
    outside: Path


def build(base: Path) -> World:
    """Make the folder, and what is outside it."""
    world = World(base, base / "research", base / "outside")
    world.outside.mkdir(parents=True)
    (world.outside / "deep").mkdir()
    for path in ("secret.md", "secret.txt", "deep/secret.md", "~.md"):
        (world.outside / path).write_text(SECRET, encoding="utf-8")
    (world.outside / "secret.pdf").write_bytes(plain_pdf(SECRET.strip()))
    (base / "research-secret.md").write_text(SECRET, encoding="utf-8")
    (base / "research2").mkdir()
    (base / "research2" / "secret.md").write_text(SECRET, encoding="utf-8")

    folder = world.folder
    (folder / "notes" / "2024").mkdir(parents=True)
    for path in ("notes/plan.md", "notes/2024/q3.txt"):
        (folder / path).write_text(INSIDE, encoding="utf-8")
    (folder / "paper.pdf").write_bytes(plain_pdf(INSIDE.strip()))
    for raw in ODD_NAMES:
        (folder / os.fsdecode(raw)).write_text(INSIDE, encoding="utf-8")
    os.link(folder / "notes" / "plan.md", folder / "hard.md")
    (folder / "photo.png").write_text(SECRET, encoding="utf-8")
    (folder / "passwd").write_text(SECRET, encoding="utf-8")
    _hidden(folder)
    _links(world)
    _special(folder)
    return world


def _hidden(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "notes" / ".trash").mkdir()
    for path in (".secret.md", ".git/config.md", "notes/.draft.md", "notes/.trash/old.md", "...md"):
        (folder / path).write_text(SECRET, encoding="utf-8")


def _links(world: World) -> None:
    folder, outside = world.folder, world.outside
    links = {
        "ok.md": "notes/plan.md",
        "okdir": "notes",
        "notes/2024/up.md": "../plan.md",
        "there-and-back.md": "notes/2024/../../notes/plan.md",
        "out.md": "../outside/secret.md",
        "out.pdf": "../outside/secret.pdf",
        "outdir": "../outside",
        "notes/out.md": "../../outside/secret.md",
        "notes/2024/outdir": "../../../outside/deep",
        "dangling.md": "../outside/none.md",
        "nowhere.md": "notes/none.md",
        "sibling.md": "../research2/secret.md",
        "leave-and-return.md": "../research/notes/plan.md",
        "absolute.md": str(outside / "secret.md"),
        "absolute-inside.md": str(folder / "notes" / "plan.md"),
        "absolutedir": str(outside),
        "slash": "/",
        "environ.md": "/proc/self/environ",
        "cwd": "/proc/self/cwd",
        "procroot": "/proc/self/root",
        "fd.md": "/proc/self/fd/0",
        "passwd.md": "/etc/passwd",
        "loop.md": "loop.md",
        "ping.md": "pong.md",
        "pong.md": "ping.md",
        "self": ".",
        "parent": "..",
        "notes/parent": "..",
        "double": "outdir",
        "to-hidden.md": ".secret.md",
        "to-git": ".git",
        "to-directory.md": "notes",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "chain0.md").symlink_to("../outside/secret.md")
    for number in range(1, 50):
        (folder / f"chain{number}.md").symlink_to(f"chain{number - 1}.md")


def _special(folder: Path) -> None:
    os.mkfifo(folder / "fifo.md")
    os.mkfifo(folder / "fifo.pdf")
    (folder / "fifolink.md").symlink_to("fifo.md")
    (folder / "directory.md").mkdir()
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(folder)  # a socket's path may have about 100 characters
        try:
            listening.bind("socket.md")
        finally:
            os.chdir(before)
    if os.geteuid() == 0:
        for name, minor in (("null.md", 3), ("zero.md", 5), ("random.pdf", 9)):
            try:
                os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            except PermissionError:  # not in every container; the name is then simply missing
                return


READABLE = {
    "notes/plan.md",
    "notes/2024/q3.txt",
    "notes/2024/up.md",
    "paper.pdf",
    "hard.md",
    "ok.md",
    "there-and-back.md",
    r"caf\xe9.md",
    r"two\x0alines.md",
    r"back\\slash.md",
    "100%41.md",
    "%2e%2e%2foutside%2fsecret.md",
    "$HOME.md",
    "~.md",
    "~root.md",
    "{a,b}.md",
    "[x].md",
    "a b.md",
    "a.md .md",
    "-rf.md",
    "con.md",
    "nul.txt",
    "c:notes.md",
    "'; DROP TABLE.md",
    "<script>.md",
    NFC,
    "\uff0e\uff0e.md",
    r"\xe2\x80\xaefdp.md",
}
"""Every document that the listing shows."""
