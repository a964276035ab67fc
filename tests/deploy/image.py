"""Build the image with the Dockerfile as it stands, and run it. Neither a daemon nor a registry of images is needed.

Usage: python tests/deploy/image.py

In place of the official Python image that the Dockerfile pins, packages of Debian make a base of the same release with the same
version of Python: what is tried are the steps of the Dockerfile and what comes of them, and not the pinned base. The service
`gateway` of compose.yaml then runs from the image, kept apart as a container is (support/containers.py), with no network but its
own.

Needs Linux, root, `buildah` and `mmdebstrap`. Prints one line for each check and ends with status 1 if one fails.
"""

import asyncio
import configparser
import contextlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from fastmcp import Client
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from research_shared.serving.version import VERSION
from support.checks import check, failed
from support.compose import ROOT, Volume, environment_of, read_compose, volumes_of
from support.containers import INSIDE, Container, run_apart
from support.load import HANDSHAKE, HEADERS, make_folder
from support.providers import FakeProvider, listening
from support.scripted import ScriptedModel

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(
    r"^ARG PYTHON_IMAGE=python:(?P<python>\d+\.\d+)\.\d+-slim-(?P<release>[a-z]+)@sha256:[0-9a-f]{64}$", re.MULTILINE
)  # fmt: skip
PACKAGES = (
    "base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "libc-bin", "libstdc++6",
    "login", "mawk", "passwd", "python3", "python3-venv", "sed", "util-linux",
)  # fmt: skip
"""What the official image has as well, as far as the Dockerfile and the program use it."""
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy")
"""Of this machine, for a build where packages come from a mirror."""
BASE, IMAGE, BUILT = "localhost/python-base", "localhost/research-assistant-mcp", "built.json"
REVISION = "0123456789abcdef0123456789abcdef01234567"
LOCKING: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "lock.py"))
DISTRIBUTION = "research-assistant-mcp"
PYTHON = "/opt/research/bin/python"
BILL = "/usr/share/sbom/research-assistant-mcp.cdx.json"
BUILD_TOOLS = frozenset(
    {"pip", "pip3", "setuptools", "hatchling", "cyclonedx", "cyclonedx_py", "cyclonedx-py", "gcc", "cc"}
)
BUILD_PLACES = ("/tools", "/wheel", "/src", "/locks", "/root/.cache")
LIST_INSTALLED = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)
LABELS = ("title", "description", "licenses", "source", "version", "revision")
MAY_WRITE = frozenset({"/audit", "/index", "/login", "/tmp"})
SUMMARIZE = ("summarize_document", {"document_path": "note-7.md", "summary_length": "brief"})
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": HANDSHAKE,
        "capabilities": {},
        "clientInfo": {"name": "image", "version": "1"},
    },
}
ATTEMPTS = 3
STEP_S = 900.0
LIMIT_S = 300.0
"""For a machine that is busy: what is waited for takes seconds on one that is not."""
POLL_S = 0.1


# Building


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Buildah with a store of its own. What it keeps and caches is in `directory`."""

    directory: Path

    def run(self, *command: str | Path, attempts: int = 1) -> str:
        """Return what a command prints. One that downloads is tried again.

        Raises:
            SystemExit: it failed.
        """
        words = [*map(str, command)]
        for attempt in range(1, attempts + 1):
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=STEP_S)
            if not done.returncode:
                return done.stdout.strip()
            print(f"attempt {attempt} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}", file=sys.stderr)
        sys.exit(f"failed: {' '.join(words)}")

    def buildah(self, *arguments: str | Path, attempts: int = 1) -> str:
        """Return what buildah prints."""
        store = (
            "--root",
            self.directory / "root",
            "--runroot",
            self.directory / "run",
            "--storage-driver",
            "vfs",
        )
        temporary = self.directory / "tmp"  # what is cached between two attempts is there as well
        temporary.mkdir(exist_ok=True)
        return self.run("env", f"TMPDIR={temporary}", "buildah", *store, *arguments, attempts=attempts)

    def mounted(self, image: str) -> tuple[str, Path]:
        """Return a container made from an image, and where its files are."""
        name = self.buildah("from", "--pull-never", image)
        return name, Path(self.buildah("mount", name))


def make_base(builder: Builder, *, python: str, release: str) -> None:
    """Make the image that stands for the one that is pinned."""
    archive = builder.directory / "base.tar"
    included = f"--include={','.join(PACKAGES)}"
    builder.run("mmdebstrap", "--quiet", "--variant=extract", included, release, archive, attempts=ATTEMPTS)
    name, root = builder.mounted("scratch")
    without = [f"--exclude=./usr/share/{each}" for each in ("doc", "locale", "man")]
    builder.run("tar", "--extract", "--numeric-owner", *without, "--file", archive, "--directory", root)
    archive.unlink()
    # What the scripts of the packages do, which do not run.
    for each in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{each}.master", root / f"etc/{each}")
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    builder.run("chroot", root, "ldconfig")
    # Where the official image has Python and its pip, which the Dockerfile removes.
    local = root / "usr/local"
    packages = local / f"lib/python{python}/site-packages"
    pip = ("pip/__init__.py", "pip-25.3.dist-info/METADATA")
    for file in (*(packages / each for each in pip), local / "bin/pip", local / f"bin/pip{python}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
    for each in ("python", "python3"):
        (local / "bin" / each).symlink_to("/usr/bin/python3")
    (root / "etc/pip.conf").write_text(pip_settings(), encoding="utf-8")
    found = builder.run("chroot", root, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    check(f"the base is of {release} and has Python {python}, as the pinned one", found == python, found)
    builder.buildah("config", "--env", f"PATH={PATH}", name)
    builder.buildah("commit", "--quiet", "--rm", name, BASE)


def pip_settings() -> str:
    """Return settings of pip for the build: patient ones, and where this machine gets its packages."""
    given = configparser.ConfigParser(interpolation=None)
    given.read("/etc/pip.conf", encoding="utf-8")
    settings = {"cert": str(CERTIFICATES), "retries": "10", "timeout": "60"}
    for name in PIP_SETTINGS:
        value = os.environ.get(f"PIP_{name.replace('-', '_').upper()}") or given.get(
            "global", name, fallback=""
        )
        settings |= {name: value} if value else {}
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())


def build(directory: Path) -> None:
    """Build the image, and write down what it says of itself and where its files are."""
    begun = time.monotonic()
    builder = Builder(directory=directory)
    pinned = PINNED.search(DOCKERFILE)
    if pinned is None:
        sys.exit("the Dockerfile has no base that is pinned by version, release and digest")
    make_base(builder, **pinned.groupdict())
    print(f"       the base is made after {time.monotonic() - begun:.0f} s", flush=True)
    arguments = (f"--build-arg=PYTHON_IMAGE={BASE}", f"--build-arg=REVISION={REVISION}", f"--tag={IMAGE}")
    # Tried again, because its steps download packages. What else they do ends the same each time.
    builder.buildah(
        "bud", "--isolation=chroot", "--format=docker", "--pull-never", *arguments, ROOT, attempts=ATTEMPTS
    )
    described = json.loads(builder.buildah("inspect", "--type=image", IMAGE))["Docker"]
    _, root = builder.mounted(IMAGE)
    (directory / BUILT).write_text(
        json.dumps({"config": described["config"], "root": str(root)}), encoding="utf-8"
    )
    print(f"       the image is built after {time.monotonic() - begun:.0f} s", flush=True)


# Looking


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was built: what the image says of itself, and its files."""

    config: dict[str, Any]
    root: Path

    @classmethod
    def read(cls, directory: Path) -> "Built":
        found = json.loads((directory / BUILT).read_text(encoding="utf-8"))
        return cls(config=found["config"], root=Path(found["root"]))

    @property
    def environment(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.config["Env"])

    @property
    def health(self) -> list[str]:
        kind, *words = map(str, self.config["Healthcheck"]["Test"])
        assert kind == "CMD"
        return words


@dataclass
class HeldProvider(FakeProvider):
    """A provider that answers nothing before it is let."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def _respond(
        self, path: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.asked.set()
        await self.let.wait()
        await super()._respond(path, body, reader, writer)


def locked(python: str) -> set[str]:
    """Return the names of the packages that the lock has for a version of Python on this platform."""
    lock = LOCKING["read_lock"]((ROOT / "deploy" / LOCKING["LOCK"]).read_text(encoding="utf-8"))
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    wanted = [
        each for each in map(Requirement, lock) if each.marker is None or each.marker.evaluate(environment)
    ]
    return {canonicalize_name(each.name) for each in wanted}


def look_at_config(built: Built) -> None:
    """See what the image says of itself."""
    config = built.config
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()
    }
    told = {"version": VERSION, "revision": REVISION, "licenses": "MIT"}
    check("its labels have its version, revision and licence", told.items() <= labels.items(), labels)
    check("its labels have text for all of them", all(labels.get(each) for each in LABELS), labels)
    user = config["User"].partition(":")[0]
    check("its user is none of the system", user.isdigit() and int(user) >= 10000, config["User"])
    starts = (config["Entrypoint"], config["Cmd"][0], [*config["ExposedPorts"]])
    check("it serves, on one port", starts == (["research-assistant"], "serve", ["8000/tcp"]), starts)


def look_at_packages(built: Built, container: Container) -> None:
    """Compare what is installed with the lock and the bill of materials, and look for what was only needed to build."""
    said = container.try_inside([PYTHON, "-c", "import platform; print(platform.python_version())"])
    listed = container.try_inside([PYTHON, "-c", LIST_INSTALLED])
    if listed.returncode:
        check("its packages can be listed", False, listed.stderr)
        return
    installed = {str(canonicalize_name(name)): version for name, version in json.loads(listed.stdout).items()}
    expected = locked(said.stdout.strip()) | {DISTRIBUTION}
    check(f"{len(installed)} packages are installed, those of the lock", installed.keys() == expected, installed.keys() ^ expected)  # fmt: skip
    bill = json.loads((built.root / BILL.removeprefix("/")).read_text(encoding="utf-8"))
    components = {str(canonicalize_name(each["name"])): each["version"] for each in bill["components"]}
    subject = bill["metadata"]["component"]
    components[canonicalize_name(subject["name"])] = installed.get(DISTRIBUTION, "")
    check("the bill of materials has each of them in its version", components == installed, components.items() ^ installed.items())  # fmt: skip
    check("the bill is CycloneDX, of this version of the program", (bill["bomFormat"], subject["version"]) == ("CycloneDX", VERSION), subject)  # fmt: skip
    places = [built.root / each for each in ("opt", "usr/local", "usr/bin")]
    left = [str(path) for place in places for path in place.rglob("*") if path.name in BUILD_TOOLS]
    left += [each for each in BUILD_PLACES if [*built.root.glob(f"{each.removeprefix('/')}/*")]]
    check("no tool of the build is left, nor what it made", not left, left)


def look_at_borders(container: Container) -> None:
    """See what the program could do."""
    said = container.try_inside([PYTHON, "-c", "print(open('/proc/self/status').read())"]).stdout
    status = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    rights = {status[each].strip() for each in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")}
    apart = (rights, status["NoNewPrivs"].strip(), status["Uid"].split())
    check(
        "it runs as its user, without capabilities",
        apart == ({"0" * 16}, "1", [str(container.user)] * 4),
        apart,
    )
    places = (
        "",
        "/audit",
        "/etc",
        "/index",
        "/login",
        "/opt/research",
        "/research",
        "/tmp",
        "/usr/local",
        "/var/tmp",
    )
    try_each = "import sys, pathlib\nfor p in sys.argv[1:]:\n try: pathlib.Path(p, 'x').touch(); print(p)\n except OSError: pass"
    written = set(container.try_inside([PYTHON, "-c", try_each, *places]).stdout.splitlines())
    check(
        "it can write to its volumes and what is temporary, and nothing else", written == MAY_WRITE, written
    )


async def until_ready(container: Container, built: Built, http: httpx.AsyncClient) -> None:
    """Wait until the gateway says that it is ready, and see that the health check of the image says so as well."""
    status, said = 0, ""
    async with asyncio.timeout(LIMIT_S):
        while status != 200:
            if container.started.poll() is not None:
                raise RuntimeError(f"it ended:\n{container.said[-4000:]}")
            await asyncio.sleep(POLL_S)
            with contextlib.suppress(httpx.TransportError):  # it does not listen yet
                answer = await http.get("/readyz")
                status, said = answer.status_code, answer.text
    check("it says that it is ready", json.loads(said)["status"] == "ready", said)
    healthy = await asyncio.to_thread(container.try_inside, built.health)
    check("its health check passes", healthy.returncode == 0, healthy)


async def stop_in_flight(container: Container, provider: HeldProvider, http: httpx.AsyncClient) -> None:
    """Stop the gateway while it waits for a model, and see that the call is answered before it ends."""
    async with Client("http://127.0.0.1:8000/mcp", timeout=LIMIT_S) as client, asyncio.timeout(LIMIT_S):
        await client.list_tools()  # so that the client asks for nothing when it has the answer
        call = asyncio.create_task(client.call_tool(*SUMMARIZE))
        await provider.asked.wait()
        container.terminate()
        while (await http.get("/readyz")).status_code == 200:  # noqa: ASYNC110  (nothing tells when it has the signal)
            await asyncio.sleep(POLL_S)
        refused = await http.post("/mcp", json=INITIALIZE, headers=HEADERS)
        check("told to stop, it refuses new calls", (refused.status_code, "retry-after" in refused.headers) == (503, True), refused.text)  # fmt: skip
        provider.let.set()
        answer = (await call).structured_content or {}
        check("it answers the call that it has taken", answer.get("route") == "provider" and bool(answer.get("summary")), answer)  # fmt: skip
        status = await asyncio.to_thread(container.started.wait, LIMIT_S)
    check("then it ends in order", status == 0, status)


async def run_gateway(built: Built, work: Path) -> None:
    """Run the service `gateway` of compose.yaml, call it and stop it."""
    make_folder(work / "research", notes=30)
    (work / "secrets" / "alone").mkdir(parents=True)
    service = read_compose({"RESEARCH_FOLDER": str(work / "research"), "RESEARCH_SECRETS": str(work / "secrets")})["services"]["gateway"]  # fmt: skip
    user = int(built.config["User"].partition(":")[0])
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(listening(HeldProvider(ScriptedModel())))
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url="http://127.0.0.1:8000", timeout=LIMIT_S, trust_env=False)
        )
        environ = {
            "RESEARCH_PROVIDER": "openai",
            "RESEARCH_PROVIDER_MODEL": "m",
            "RESEARCH_PROVIDER_KEY": "k",
            "RESEARCH_PROVIDER_URL": provider.base_url("openai"),
        }
        container = Container(
            name="gateway", command=[*built.config["Entrypoint"], *built.config["Cmd"]], user=user, first=True,
            environment={**built.environment, **environment_of(service, environ), "RESEARCH_DRAIN_S": f"{LIMIT_S:.0f}"},
            addresses={}, volumes=volumes_for(service, built, work), temporary=service["tmpfs"],
            directory=work / "container", files=built.root,
        )  # fmt: skip
        stack.callback(container.end)
        container.furnish({"localhost": "127.0.0.1"}, {})
        look_at_packages(built, container)
        look_at_borders(container)
        alone = [
            "env",
            *(f"--unset={name}" for name in environ),
        ]  # it would ask the model, which does not answer yet
        shown = container.try_inside([*alone, *built.config["Entrypoint"], "demo"])
        check("the demonstration ends with an intact trail", not shown.returncode and "none was changed, added or removed" in shown.stdout, shown)  # fmt: skip
        container.start()
        await until_ready(container, built, http)
        await stop_in_flight(container, provider, http)
        verified = container.try_inside([*built.config["Entrypoint"], "audit", "verify"])
        check(
            "its trail is intact",
            not verified.returncode and "audit.jsonl: intact" in verified.stdout,
            verified,
        )
        if failed:
            print(f"-- it said\n{container.said[-4000:]}", file=sys.stderr)


def volumes_for(service: dict[str, Any], built: Built, work: Path) -> list[Volume]:
    """Return the volumes of a service. A named one begins as what the image has there, with its owner."""
    found = []
    for volume in volumes_of(service):
        source = Path(volume.source)
        if not source.is_absolute():
            source = work / "volumes" / volume.source
            place = built.root / volume.target.removeprefix("/")
            shutil.copytree(place, source)
            os.chown(source, place.stat().st_uid, place.stat().st_gid)
        found.append(Volume(source=str(source), target=volume.target, read_only=volume.read_only))
    return found


def look(work: Path) -> int:
    """Look at what was built, and run it. Return 1 if a check failed."""
    built = Built.read(Path(sys.argv[1]))
    look_at_config(built)
    asyncio.run(run_gateway(built, work))
    return 1 if failed else 0


def main() -> int:
    """Build, look, and return the exit status."""
    if INSIDE in sys.argv:
        return run_apart(look)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        build(Path(name))
        sys.argv.append(name)
        status = run_apart(look)
    print(f"       all of it: {time.monotonic() - begun:.0f} s")
    return 1 if failed else status


if __name__ == "__main__":
    sys.exit(main())
