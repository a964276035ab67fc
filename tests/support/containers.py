"""Plain processes kept apart as containers are: networks and a file system of their own, an ordinary user, no capabilities.

Linux and root only. `run_apart` first: what is mounted and connected within it ends with it, and is never seen outside.
"""

import ipaddress
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.compose import ROOT, Volume

INSIDE = "--inside"
NAMESPACES = Path("/run/netns")
DEVICES = ("full", "null", "random", "urandom", "zero")
LIMIT_S = 300
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_apart(program: Callable[[Path], int]) -> int:
    """Run a program that is given an empty directory, alone with its own mounts, network and processes. Return its status.

    The script is started again for that. Its directory is removed outside, where nothing is mounted on it.
    """
    if INSIDE in sys.argv:
        directory = Path(sys.argv.pop())
        sys.argv.remove(INSIDE)
        ip("link", "set", "lo", "up")
        NAMESPACES.mkdir(exist_ok=True)
        mount("-t", "tmpfs", "netns", NAMESPACES)
        return program(directory)
    unshare = (
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation=private",
    )
    with tempfile.TemporaryDirectory(prefix="apart-") as name:
        return subprocess.run([*unshare, sys.executable, *sys.argv, INSIDE, name], check=False).returncode


def run(*command: str | Path) -> str:
    """Return what a command prints.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def ip(*arguments: str) -> None:
    run("ip", *arguments)


def mount(*arguments: str | Path) -> None:
    run("mount", *arguments)


class Network:
    """A bridge of its own. This process has the first address."""

    def __init__(self, number: int, subnet: str) -> None:
        self.subnet = ipaddress.ip_network(subnet)
        self.bridge = f"bridge{number}"
        self._free = (str(each) for each in list(self.subnet.hosts())[100:])
        self.host = str(next(self.subnet.hosts()))
        ip("link", "add", self.bridge, "type", "bridge")
        ip("address", "add", f"{self.host}/{self.subnet.prefixlen}", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")

    def free_address(self) -> str:
        return next(self._free)


@dataclass(kw_only=True)
class Container:
    """A process in a container.

    `addresses` are those in each network, by their names: without any it is in the network of this process. `files` are those that
    it has: those of this machine, or of an image. With `first` it is the first process of its own, as the program of an image is.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    user: int
    addresses: Mapping[str, str]
    volumes: Sequence[Volume]
    temporary: Sequence[str]
    directory: Path
    files: Path = Path("/")
    first: bool = False
    process: subprocess.Popen[bytes] | None = None
    links: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @property
    def started(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, self.name
        return self.process

    def connect(self, networks: Mapping[str, Network]) -> None:
        """Make the network of the container, with an interface in each network that it is in."""
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        for number, (name, address) in enumerate(self.addresses.items()):
            network, near, far = networks[name], f"{self.name[:12]}{number}", f"eth{number}"
            ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
            ip("link", "set", near, "master", network.bridge, "up")
            ip("-n", self.name, "address", "add", f"{address}/{network.subnet.prefixlen}", "dev", far)
            ip("-n", self.name, "link", "set", far, "up")

    def furnish(self, hosts: Mapping[str, str], programs: Mapping[str, str]) -> None:
        """Make the file system: `files`, what is mounted over them, and nothing that can be written beside that.

        `hosts` are addresses by names. `programs` are names for programs of this machine, by where they are to be found.
        """
        self.directory.mkdir(parents=True)
        mount("-t", "tmpfs", "container", self.directory)
        layers = [self.directory / each for each in ("upper", "work")]
        for layer in (*layers, self.root):
            layer.mkdir()
        mount(
            "-t",
            "overlay",
            "-o",
            f"lowerdir={self.files},upperdir={layers[0]},workdir={layers[1]}",
            "overlay",
            self.root,
        )
        self._inside("/etc/hosts").write_text(
            "".join(f"{each} {name}\n" for name, each in hosts.items()), encoding="utf-8"
        )
        for target, program in programs.items():
            self._inside(target).symlink_to(program)
        mount("--rbind", "/proc", self._inside("/proc"))
        mount("-t", "tmpfs", "-o", "mode=755", "dev", self._inside("/dev"))
        for each in DEVICES:
            self._bind(Volume(source=f"/dev/{each}", target=f"/dev/{each}", read_only=False))
        for number, each in enumerate(("stdin", "stdout", "stderr")):
            self._inside(f"/dev/{each}").symlink_to(f"/proc/self/fd/{number}")
        for each in self.temporary:
            self._inside(each).mkdir(parents=True, exist_ok=True)
            mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", self._inside(each))
        if self.files == Path("/"):
            for place in (sys.base_prefix, sys.prefix, str(ROOT)):
                self._bind(Volume(source=place, target=place, read_only=True))
        for volume in self.volumes:
            self._bind(volume)
        mount("-o", "remount,ro", self.root)

    def _inside(self, path: str) -> Path:
        return self.root / path.removeprefix("/")

    def _bind(self, volume: Volume) -> None:
        source, target = Path(volume.source), self._inside(volume.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        for each in target.parents:
            if each == self.root:
                break
            if each.stat().st_mode & 0o055 != 0o055:
                each.chmod(each.stat().st_mode | 0o055)
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mount("--bind", source, target)
        if volume.read_only:
            mount("-o", "remount,bind,ro", target)

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs another one in the container."""
        enter = ["ip", "netns", "exec", self.name] if self.addresses else []
        drop = [
            "setpriv",
            f"--reuid={self.user}",
            f"--regid={self.user}",
            "--clear-groups",
            "--bounding-set=-all",
        ]
        return [*enter, "chroot", str(self.root), *drop, "--inh-caps=-all", "--no-new-privs", *command]

    def start(self) -> None:
        """Start the process."""
        alone = (
            ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc"]
            if self.first
            else []
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*alone, *self.inside(self.command)], env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )  # fmt: skip

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        if self.first:  # where it is 1, and not the process that made its namespace
            run("nsenter", f"--pid=/proc/{self.started.pid}/ns/pid_for_children", "sh", "-c", "kill -TERM 1")
        else:
            self.started.terminate()

    def try_inside(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run another command in the container."""
        return subprocess.run(
            self.inside(command), env=self._environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )  # fmt: skip

    @property
    def _environ(self) -> dict[str, str]:
        return {"PATH": f"{sys.prefix}/bin:{PATH}", "HOME": "/nonexistent", **self.environment}

    def status(self) -> Mapping[str, str]:
        """Return what the kernel says of the process: its user, capabilities, and so on."""
        lines = Path(f"/proc/{self.started.pid}/status").read_text(encoding="utf-8").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def end(self) -> None:
        """End the process at once, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def which(*names: str) -> str:
    """Return the first of several programs that is there.

    Raises:
        FileNotFoundError: none is.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(f"{' or '.join(names)} is needed")
