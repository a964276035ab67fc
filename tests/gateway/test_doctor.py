"""`research-assistant doctor` finds what was planted, and says what to do about it."""

import importlib.util
import json
import os
import resource
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_gateway.cli import app
from research_gateway.cli.doctor import Finding, examine, machine
from support.fake_cluster import FakeCluster
from support.serving import reserved_port


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("RESEARCH_", "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "note.md").write_text("# Note\n", encoding="utf-8")
    monkeypatch.setenv("RESEARCH_ROOTS", str(folder))
    # A command sets up the logging of its whole process, which is that of other tests here.
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda _level, **_: None)
    return home


def found(about: str, **options: Any) -> Finding:
    """Return the one finding about something that is not in order, or the first that is."""
    findings = [finding for finding in examine(**options) if finding.about == about]
    return next((each for each in findings if each.status != "ok"), findings[0])


def test_a_folder_in_order_has_no_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESEARCH_INDEX_DIR", "auto")
    with pytest.raises(SystemExit) as end:
        app(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert {each["status"] for each in findings} <= {"ok", "warning"}
    assert all(each["remedy"] for each in findings if each["status"] != "ok")


LOGIN = {
    "RESEARCH_PUBLIC_URL": "https://research.example",
    "RESEARCH_LOGIN": "google",
    "RESEARCH_LOGIN_CLIENT_ID": "gateway",
    "RESEARCH_LOGIN_CLIENT_SECRET": "a-secret-of-the-client",
}
AT_GOOGLE = {"RESEARCH_LOGIN": "oidc", "RESEARCH_AUTH_ISSUER": "https://accounts.google.com"}
OF_AN_ISSUER = {"RESEARCH_LOGIN": "oidc", "RESEARCH_AUTH_ISSUER": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("changes", "status", "text", "remedy"),
    [
        ({}, "warning", "everybody with a Google account", "RESEARCH_POLICY"),
        (AT_GOOGLE, "warning", "everybody with a Google account", "RESEARCH_POLICY"),
        ({"RESEARCH_POLICY": "policy.toml"}, "ok", "google: clients of https://research.example/mcp", None),
        ({"RESEARCH_LOGIN_DIR": "{tmp}/folder/note.md/login"}, "problem", "Not a directory", "writable"),
        ({"RESEARCH_LOGIN_DIR": "{tmp}/folder"}, "problem", "other users can read", "alone"),
        (OF_AN_ISSUER, "problem", "http://127.0.0.1:1/.well-known/openid-configuration cannot", "issuer"),
    ],
)
def test_a_login_that_lets_nobody_or_everybody_in_is_found(
    changes: dict[str, str],
    status: str,
    text: str,
    remedy: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if changes is AT_GOOGLE:
        monkeypatch.setattr("research_shared.serving.login.discovery.discover", lambda _issuer: None)
    for name, value in {**LOGIN, **changes}.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    finding = found("login", ask_model=False)
    assert (finding.status, text in finding.text) == (status, True), finding
    assert (remedy or "None") in str(finding.remedy)
    assert LOGIN["RESEARCH_LOGIN_CLIENT_SECRET"] not in str(finding)


def refusal(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message}})


class Machine:
    """The machine that is looked at, in which a test plants a fault."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.patch = directory, monkeypatch
        self.folder = directory / "folder"
        self.options: list[str] = ["--no-model"]
        self.listener: socket.socket | None = None
        self.ports = ExitStack()

    def set(self, **settings: str) -> "Machine":
        for name, value in settings.items():
            self.patch.setenv(f"RESEARCH_{name.upper()}", value)
        return self

    def without_programs(self) -> None:
        self.patch.setenv("PATH", "/none")

    def close(self, closed: Path) -> None:
        """Have this user not be allowed to read a path. The tests may run as root, who may read everything."""
        access = os.access
        self.patch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))

    def leave_out(self, package: str) -> None:
        find = importlib.util.find_spec
        self.patch.setattr(machine, "find_spec", lambda name: None if name == package else find(name))

    def limit_watches(self, number: int) -> None:
        (self.directory / "limit").write_text(f"{number}\n")
        self.patch.setattr(machine, "INOTIFY_WATCHES", self.directory / "limit")

    def have_tesseract(self, *languages: str) -> None:
        said = {"--version": "tesseract 5.3.0", "--list-langs": "\n".join(languages)}
        self.patch.setattr("research_shared.reading.ocr._output_of", lambda _program, option: said[option])
        self.patch.setattr(
            "research_shared.reading.ocr.tesseract.__kwdefaults__", {"find": lambda name: f"/bin/{name}"}
        )

    def answer_models_with(self, reply: httpx.Response | Exception) -> None:
        """Have every call of the provider's server end with an error."""
        self.options = []
        self.set(provider="openai", provider_model="gpt-none", provider_key="sk-wrong")

        def answer(_request: httpx.Request) -> httpx.Response:
            if isinstance(reply, Exception):
                raise reply
            return reply

        self.patch.setattr(
            "research_reasoning.models.provider.client.Provider._default_client",
            lambda _self: httpx.AsyncClient(transport=httpx.MockTransport(answer)),
        )

    def configure_cursor(self, command: str, *arguments: str) -> None:
        file = Path.home() / ".cursor" / "mcp.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"mcpServers": {"r": {"command": command, "args": [*arguments]}}}))

    def unused_port(self) -> int:
        return self.ports.enter_context(reserved_port())

    def listen(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.options += ["--port", str(self.listener.getsockname()[1])]

    def behind(self, proxy: str) -> None:
        """Have servers be asked by way of a proxy."""
        self.patch.setenv("HTTPS_PROXY", proxy)

    def without_socks(self) -> "Machine":
        """Have no package that speaks SOCKS, as httpx has none of its own."""
        self.patch.setitem(sys.modules, "socksio", None)
        return self

    def ask_models(self) -> "Machine":
        """Name a model, and one for vectors."""
        self.options = []
        self.set(provider="openai", provider_model="gpt-none", provider_key="sk-none")
        return self.set(embedding_url=f"https://u:{SECRETS[0]}@models.example", embedding_model="minilm")

    def search_on(self, answer: Callable[[httpx.Request], httpx.Response], **settings: str) -> "Machine":
        """Name a search cluster that answers so, as all HTTP servers here."""
        self.set(search_url="https://search.example:9200", index_dir="none", **settings)
        self.patch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: answer(request))
        return self

    def search_pushed(self, change: Callable[[FakeCluster], object] = lambda _: None) -> None:
        """Name a search cluster to which the folder was pushed, and that was changed then."""
        cluster = FakeCluster()
        self.search_on(cluster.answer)
        with pytest.raises(SystemExit) as end:
            app(["index", "push", "--json"])
        assert end.value.code == 0
        change(cluster)

    def keep_tasks_on(self, *answers: tuple[str, bytes], password: str = "a-password-of-the-store") -> None:
        """Name a store of tasks that gives these answers to commands, in the protocol of Redis, and says yes to all others."""
        self.listener = listener = socket.create_server(("127.0.0.1", 0))
        known = dict(answers)
        threading.Thread(target=_speak_redis, args=(listener, known), daemon=True).start()
        self.set(
            tasks_url=f"redis://:{password}@127.0.0.1:{listener.getsockname()[1]}/0", state_keys=STATE_KEY
        )


def _speak_redis(listener: socket.socket, answers: Mapping[str, bytes]) -> None:
    with suppress(OSError):  # the listener is closed
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as asked:
                while head := asked.readline():
                    words = [asked.read(int(asked.readline()[1:]) + 2).strip() for _ in range(int(head[1:]))]
                    connection.sendall(answers.get(words[0].decode().upper(), b"+OK\r\n"))


def info(**facts: object) -> tuple[str, bytes]:
    text = "".join(f"{name}:{value}\r\n" for name, value in {"redis_version": "7.2.4", **facts}.items())
    return "INFO", f"${len(text)}\r\n{text}\r\n".encode()


def pushed_state(cluster: FakeCluster, **changes: object) -> None:
    """Change what is kept about the last push."""
    stored = cluster.indices["research-state"].stored["push"]
    stored.source["push"] |= changes


def lease_left(cluster: FakeCluster, renewed_at: str) -> None:
    """Have an indexer of another machine hold the lease, last heard of at a time, with documents that wait."""
    pushed_state(cluster, waiting=2, listed=9, begun_at=AN_HOUR_AGO, told_at=AN_HOUR_AGO, agreed_at=LONG_AGO)
    lease = {"host": "far", "pid": 1, "place": "far", "since": AN_HOUR_AGO, "renewed_at": renewed_at}
    cluster.indices["research-state"].stored["lease"].source["lease"] = lease | {"lease_s": 30.0}


def fill_disk(cluster: FakeCluster) -> None:
    for index in cluster.indices.values():
        index.read_only = True


def refused_by_tls(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("x", request=request) from ssl.SSLCertVerificationError(
        "self-signed certificate"
    )


def not_there(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def _break_policy(machine: Machine) -> None:
    (machine.directory / "policy.toml").write_text('[[rules]]\nallow = "no list" = 1\n', encoding="utf-8")
    machine.set(policy=str(machine.directory / "policy.toml"))


AN_HOUR_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
LONG_AGO = (datetime.now(UTC) - timedelta(days=2)).isoformat(timespec="seconds")
LONGER_AGO = (datetime.now(UTC) - timedelta(days=60)).isoformat(timespec="seconds")
HERE = str(Path(sys.executable).with_name("research-assistant"))
SECRETS = ("a-password-of-the-store", "a-password-of-the-cluster")
WRONG_PASSWORD = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
STATE_KEY = "a-key-for-the-state-of-tests-of-32-bytes"
PLANTED: dict[str, tuple[Callable[[Machine], object], str, str, str]] = {
    "missing root": (
        lambda m: m.set(roots=f"lost={m.directory}/lost"),
        "folder lost",
        "lost is not a directory",
        "Create it",
    ),
    "unreadable root": (
        lambda m: m.close(m.folder),
        "folder folder",
        "cannot be read by this user",
        "chmod u+rx",
    ),
    "unreadable file": (
        lambda m: m.close(m.folder / "note.md"),
        "folder folder",
        "1 file or folder cannot be read",
        "permission",
    ),
    "empty mount": (
        lambda m: (m.folder / "note.md").unlink(),
        "folder folder",
        "holds no document",
        "mounted",
    ),
    "index that cannot be written": (
        lambda m: m.set(index_dir=f"{m.directory}/limit.txt/index"),
        "index",
        "cannot be written: Not a directory",
        "writable",
    ),
    "index inside the folder": (
        lambda m: m.set(index_dir=f"{m.folder}/index"),
        "index",
        "inside the research folder",
        "elsewhere",
    ),
    "unknown variable": (
        lambda m: m.set(index_dri="auto"),
        "settings",
        "RESEARCH_INDEX_DRI",
        "research-assistant config",
    ),
    "wrong value": (
        lambda m: m.set(retry_attempts="0"),
        "settings",
        "RESEARCH_RETRY_ATTEMPTS",
        "research-assistant config",
    ),
    "tesseract missing": (
        lambda m: m.set(ocr="tesseract").without_programs(),
        "ocr",
        "not installed",
        "apt install tesseract-ocr",
    ),
    "language of OCR missing": (
        lambda m: m.set(ocr="tesseract", ocr_languages="eng+xxx").have_tesseract("eng", "osd"),
        "ocr",
        "no data for xxx",
        "RESEARCH_OCR_LANGUAGES",
    ),
    "too few watches": (
        lambda m: m.limit_watches(0),
        "watching",
        "allows 0 watches",
        "fs.inotify.max_user_watches=2",
    ),
    "provider not there": (
        lambda m: m.answer_models_with(httpx.ConnectError("refused")),
        "model",
        "gpt-none of openai",
        "RESEARCH_PROVIDER_URL",
    ),
    "wrong key": (
        lambda m: m.answer_models_with(refusal(401, "bad key")),
        "model",
        "bad key",
        "RESEARCH_PROVIDER_KEY",
    ),
    "unknown model": (
        lambda m: m.answer_models_with(refusal(404, "no such model")),
        "model",
        "no such model",
        "RESEARCH_PROVIDER_MODEL",
    ),
    "client with a missing program": (
        lambda m: m.configure_cursor("/gone/research-assistant"),
        "Cursor",
        "is no program",
        "Write /",
    ),
    "client with a missing folder": (
        lambda m: m.configure_cursor(HERE, "serve", "--root", f"papers={m.directory}/gone"),
        "Cursor",
        "gone, which is not a directory",
        "research-assistant install cursor --name r --root DIR --replace",
    ),
    "port in use": (lambda m: m.listen(), "port", "it is in use", "another --port"),
    "broken policy": (_break_policy, "policy", "policy.toml", "policy check"),
    "trail in a missing directory": (
        lambda m: m.set(audit_log=f"{m.directory}/missing/audit.jsonl"),
        "audit",
        "directory is missing",
        "Make the directory",
    ),
    "trail inside the folder": (
        lambda m: m.set(audit_log=f"{m.folder}/audit.jsonl"),
        "audit",
        "inside the research folder",
        "elsewhere",
    ),
    "metrics without their extra": (
        lambda m: m.set(metrics="true").leave_out("prometheus_client"),
        "packages",
        "prometheus_client",
        "[metrics]",
    ),
    "spans without their extra": (
        lambda m: m.set(otlp_url="http://127.0.0.1:4318/v1/traces").leave_out(
            "opentelemetry.exporter.otlp.proto.http"
        ),
        "packages",
        "opentelemetry",
        "[otlp]",
    ),
    "tasks without their extra": (
        lambda m: m.set(tasks_url="redis://127.0.0.1:6379/0").leave_out("redis"),
        "packages",
        "redis",
        "[tasks]",
    ),
    "search cluster not there": (
        lambda m: m.search_on(not_there),
        "search cluster",
        "cannot be reached",
        "RESEARCH_SEARCH_URL",
    ),
    "proxy whose password has a slash": (
        lambda m: m.search_on(not_there).behind(f"http://user:{SECRETS[0]}/rest@proxy:3128"),
        "proxy",
        "no server was asked",
        "%2F",
    ),
    "proxy of an unknown kind": (
        lambda m: m.ask_models().behind(f"ftp://user:{SECRETS[0]}@proxy"),
        "proxy",
        "no server was asked",
        "unset them",
    ),
    "SOCKS proxy without its package": (
        lambda m: m.ask_models().without_socks().behind(f"socks5://user:{SECRETS[0]}@proxy"),
        "proxy",
        "pip install socksio; no server was asked",
        "name an HTTP proxy",
    ),
    "certificate of the cluster by an unknown authority": (
        lambda m: m.search_on(refused_by_tls),
        "search cluster",
        "no secure connection",
        "SSL_CERT_FILE",
    ),
    "wrong password of the cluster": (
        lambda m: m.search_on(
            lambda _: httpx.Response(401), search_user="u", search_password="a-password-of-the-cluster"
        ),
        "search cluster",
        "does not accept the credentials",
        "RESEARCH_SEARCH_PASSWORD",
    ),
    "user of the cluster without rights": (
        lambda m: m.search_on(lambda _: httpx.Response(403)),
        "search cluster",
        "does not let this user",
        "needs read",
    ),
    "no cluster at all": (
        lambda m: m.search_on(lambda _: httpx.Response(200, text="welcome")),
        "search cluster",
        "no OpenSearch cluster",
        "REST interface",
    ),
    "nothing pushed yet": (
        lambda m: m.search_on(FakeCluster().answer),
        "search cluster",
        "there is no index 'research' yet",
        "research-assistant index push",
    ),
    "index of another version": (
        lambda m: m.search_pushed(
            lambda c: [index.body["mappings"].update(_meta={"schema": "0.0"}) for index in c.indices.values()]
        ),
        "search cluster",
        "has the schema 0.0",
        "index push --full",
    ),
    "index of other folders": (
        lambda m: m.search_pushed(lambda c: pushed_state(c, roots=["papers"])),
        "search cluster",
        "holds the research folders papers, and these are folder",
        "RESEARCH_SEARCH_INDEX",
    ),
    "full disk of the cluster": (
        lambda m: m.search_pushed(fill_disk),
        "search cluster",
        "can only be read",
        "Free space",
    ),
    "first push has not ended": (
        lambda m: m.search_pushed(lambda c: pushed_state(c, agreed_at="")),
        "search cluster",
        "no push has ended yet",
        "index status",
    ),
    "last push long ago": (
        lambda m: m.search_pushed(lambda c: pushed_state(c, agreed_at=LONG_AGO, told_at=LONG_AGO)),
        "search cluster",
        f"last agreed with the folder at {LONG_AGO}",
        "--watch",
    ),
    "last listing long ago": (
        lambda m: m.search_pushed(lambda c: pushed_state(c, agreed_at=LONGER_AGO, told_at=LONG_AGO)),
        "search cluster",
        f"last agreed with the folder at {LONGER_AGO}, and the folder was last listed at {LONG_AGO}",
        "--watch",
    ),
    "push that was ended": (
        lambda m: m.search_pushed(
            lambda c: pushed_state(
                c, waiting=2, listed=9, begun_at=AN_HOUR_AGO, told_at=AN_HOUR_AGO, agreed_at=LONG_AGO
            )
        ),
        "search cluster",
        f"no indexer is at work: 2 of 9 documents are still to be pushed; the index last agreed with the folder at {LONG_AGO}",
        "what ended the indexer",
    ),
    "push that was killed": (
        lambda m: m.search_pushed(lambda c: lease_left(c, AN_HOUR_AGO)),
        "search cluster",
        "no indexer is at work",
        "index push",
    ),
    "first push that was ended": (
        lambda m: m.search_pushed(lambda c: pushed_state(c, waiting=2, listed=9, agreed_at="")),
        "search cluster",
        "2 of 9 documents are still to be pushed; no push has ended yet",
        "index push",
    ),
    "index of a folder with another name": (
        lambda m: m.set(search_folder_id="papers").search_pushed(lambda _: m.set(search_folder_id="archive")),
        "search cluster",
        "RESEARCH_SEARCH_FOLDER_ID=papers, and this is archive: a push with these settings is refused",
        "as the indexer has it",
    ),
    "silent indexer": (
        lambda m: m.search_pushed(
            lambda c: pushed_state(c, agreed_at=AN_HOUR_AGO, told_at=AN_HOUR_AGO, watching=True)
        ),
        "search cluster",
        "its indexer is silent",
        "--watch",
    ),
    "documents that the cluster refused": (
        lambda m: m.search_pushed(lambda c: pushed_state(c, failed=2)),
        "search cluster",
        "refused 2 documents",
        "index push",
    ),
    "store of tasks not there": (
        lambda m: m.set(
            tasks_url=f"redis://:{SECRETS[0]}@127.0.0.1:{m.unused_port()}/0", state_keys=STATE_KEY
        ),
        "tasks",
        "cannot be reached",
        "Check the address",
    ),
    "address of the store whose password has a slash": (
        lambda m: m.set(tasks_url=f"redis://user:{SECRETS[0]}/rest@127.0.0.1:6379/0", state_keys=STATE_KEY),
        "settings",
        "RESEARCH_TASKS_URL=(hidden)",
        "research-assistant config",
    ),
    "address of the store with an unknown option": (
        lambda m: m.set(
            tasks_url=f"redis://:{SECRETS[0]}@127.0.0.1:6379/0?{SECRETS[0]}=1", state_keys=STATE_KEY
        ),
        "tasks",
        "cannot be used",
        "%2F",
    ),
    "address of the store with a wrong option": (
        lambda m: m.set(
            tasks_url=f"redis://:{SECRETS[0]}@127.0.0.1:6379/0?max_connections={SECRETS[0]}",
            state_keys=STATE_KEY,
        ),
        "tasks",
        "cannot be used",
        "%2F",
    ),
    "store of tasks without a key": (
        lambda m: m.set(tasks_url=f"redis://:{SECRETS[0]}@127.0.0.1:6379/0"),
        "tasks",
        "only sealed",
        "RESEARCH_STATE_KEYS",
    ),
    "wrong password of the store": (
        lambda m: m.keep_tasks_on(*((name, WRONG_PASSWORD) for name in ("AUTH", "HELLO"))),
        "tasks",
        "does not accept the user and password",
        "RESEARCH_TASKS_URL_FILE",
    ),
    "store of tasks that evicts": (
        lambda m: m.keep_tasks_on(info(maxmemory=1_000_000, maxmemory_policy="allkeys-lru")),
        "tasks",
        "maxmemory-policy allkeys-lru",
        "noeviction",
    ),
    "store of tasks that is a replica": (
        lambda m: m.keep_tasks_on(info(role="slave")),
        "tasks",
        "is a replica",
        "primary",
    ),
    "store of tasks that is loading": (
        lambda m: m.keep_tasks_on(("PING", b"-LOADING Redis is loading the dataset in memory\r\n")),
        "tasks",
        "still loading",
        "Wait",
    ),
    "store of tasks without that database": (
        lambda m: m.keep_tasks_on(("PING", b"-ERR DB index is out of range\r\n")),
        "tasks",
        "answers with an error",
        "number of the database",
    ),
}
"""Faults: how each is planted, and what its finding says: about what, the text, the remedy."""
ONLY_WARNED_OF = {
    "empty mount",
    "first push has not ended",
    "last push long ago",
    "last listing long ago",
    "push that was ended",
    "push that was killed",
    "first push that was ended",
    "index of a folder with another name",
    "silent indexer",
    "documents that the cluster refused",
    "store of tasks that evicts",
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine in order, with an index that is kept."""
    (tmp_path / "limit.txt").write_text("a file")
    machine_here = Machine(tmp_path, monkeypatch)
    machine_here.set(index_dir="auto")
    with machine_here.ports:
        yield machine_here
    if machine_here.listener is not None:
        machine_here.listener.close()


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_alone_with_its_remedy(
    fault: str, planted: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, about, text, remedy = PLANTED[fault]
    plant(planted)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        app(["doctor", "--json", *planted.options])
    said = capsys.readouterr()
    assert not [secret for secret in SECRETS if secret in said.out + said.err]
    findings = [Finding(**each) for each in json.loads(said.out)]
    worst = "warning" if fault in ONLY_WARNED_OF else "problem"
    (finding,) = [
        each for each in findings if each.status == worst and (worst == "problem" or each.about == about)
    ]
    assert finding.about == about
    assert text in finding.text
    assert remedy in (finding.remedy or "")
    assert end.value.code == (1 if worst == "problem" else 0)


@pytest.mark.parametrize(
    ("plant", "about", "text"),
    [
        (lambda m: m.search_pushed(), "search cluster", "1 document with 1 passage, and 0 without text"),
        (
            lambda m: m.keep_tasks_on(
                info(maxmemory=0, maxmemory_policy="allkeys-lru", valkey_version="8.1.1")
            ),
            "tasks",
            "the server answers (version 8.1.1), and evicts nothing",
        ),
        (
            lambda m: m.keep_tasks_on(
                ("INFO", b"-NOPERM this user has no permissions to run the 'info' command\r\n")
            ),
            "tasks",
            "may not ask",
        ),
    ],
)
def test_servers_that_are_in_order_are_named(
    plant: Callable[[Machine], object], about: str, text: str, planted: Machine
) -> None:
    plant(planted)
    (finding,) = [each for each in examine(ask_model=False) if each.about == about]
    assert (finding.status, text in finding.text) == ("ok", True), finding


def test_a_user_of_the_cluster_who_may_not_look_at_settings_is_told_the_rest(planted: Machine) -> None:
    def without_settings(cluster: FakeCluster) -> None:
        cluster.before = lambda request: (
            httpx.Response(403) if request.url.path.endswith("/_settings") else None
        )

    planted.search_pushed(without_settings)
    assert [each.status for each in examine(ask_model=False) if each.about == "search cluster"] == ["ok"]


def test_documents_that_an_indexer_at_work_still_has_to_push_are_no_fault(planted: Machine) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    planted.search_pushed(lambda cluster: lease_left(cluster, now))
    assert [each.status for each in examine(ask_model=False) if each.about == "search cluster"] == ["ok"]


def test_no_server_is_looked_for_where_none_is_named() -> None:
    abouts = {each.about for each in examine(ask_model=False)}
    assert {"search cluster", "tasks"}.isdisjoint(abouts)
    assert "index" in abouts


@pytest.mark.parametrize(
    ("about", "variable", "value", "remedy"),
    [
        ("index", "RESEARCH_INDEX_DIR", "none", "RESEARCH_INDEX_DIR=auto"),
        ("watching", "RESEARCH_WATCH", "false", "RESEARCH_WATCH=true"),
        ("audit", "RESEARCH_AUDIT_LOG", "{tmp}/home/audit.jsonl", "RESEARCH_AUDIT_KEY"),
    ],
)
def test_what_works_less_well_is_a_warning_with_its_remedy(
    about: str, variable: str, value: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value.format(tmp=tmp_path))
    finding = found(about, ask_model=False)
    assert finding.status == "warning"
    assert remedy in (finding.remedy or "")


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "folder" / "plan.dwg").write_bytes(b"AC1032")
    finding = found("folder folder")
    assert (finding.status, finding.text) == ("warning", "not read: 1 .dwg")


def test_too_few_watches_for_the_folders_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder" / "sub").mkdir()
    limit = tmp_path / "limit"
    monkeypatch.setattr(machine, "INOTIFY_WATCHES", limit)
    limit.write_text("1\n")
    finding = found("watching")
    assert finding.status == "problem"
    assert "fs.inotify.max_user_watches" in str(finding.remedy)
    limit.write_text("2\n")
    assert found("watching").status == "ok"


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (1023, 4096))
    assert found("open files").status == "warning"
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (1024, 4096))
    assert found("open files").status == "ok"


def test_a_model_server_that_is_not_there_is_a_problem_with_the_tools_own_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with reserved_port() as port:
        monkeypatch.setenv("RESEARCH_PROVIDER", "ollama")
        monkeypatch.setenv("RESEARCH_PROVIDER_MODEL", "m")
        monkeypatch.setenv("RESEARCH_PROVIDER_URL", f"http://127.0.0.1:{port}/v1")
        finding = found("model")
        assert found("model", ask_model=False).status == "ok"
    assert finding.status == "problem"
    assert "RESEARCH_PROVIDER_URL" in str(finding.remedy)


def test_a_client_that_starts_a_missing_program_is_a_problem(home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    for command, status in (
        ("/gone/research-assistant", "problem"),
        ("research-assistant", "warning"),
        (str(Path(sys.executable).with_name("research-assistant")), "ok"),
    ):
        file.write_text(json.dumps({"mcpServers": {"r": {"command": command, "args": []}}}))
        assert found("Cursor").status == status
    file.write_text("{ // a comment\n}")
    assert found("Cursor").status == "warning"


def test_no_client_at_all_is_a_warning() -> None:
    finding = found("clients")
    assert finding.status == "warning"
    assert "research-assistant install" in str(finding.remedy)


def test_the_state_of_hybrid_search_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "off" in found("hybrid search").text
    monkeypatch.setattr("research_documents.search.semantic.build.PACKAGES", ("numpy",))
    monkeypatch.setenv("RESEARCH_EMBEDDING_DIR", str(home))
    without_model = found("hybrid search", ask_model=True)
    assert (without_model.status, "has no model.onnx" in without_model.text) == ("problem", True)
    assert "(not asked)" in found("hybrid search", ask_model=False).text
    monkeypatch.setattr("research_documents.search.semantic.build.PACKAGES", ("numpy", "no_such_package"))
    without_extra = found("hybrid search")
    assert (without_extra.status, without_extra.text) == ("problem", "not installed: no_such_package")
    assert "[semantic]" in (without_extra.remedy or "")
    monkeypatch.delenv("RESEARCH_EMBEDDING_DIR")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"embedding": [0.5, 0.5]}]})

    monkeypatch.setattr(
        "research_documents.search.semantic.endpoint.EmbeddingEndpoint._default_client",
        lambda _self: httpx.AsyncClient(transport=httpx.MockTransport(answer)),
    )
    monkeypatch.setenv("RESEARCH_EMBEDDING_URL", "http://localhost:1")
    monkeypatch.setenv("RESEARCH_EMBEDDING_MODEL", "minilm")
    assert "answers with 2 components" in found("hybrid search").text
    monkeypatch.setenv("RESEARCH_INDEX_DIR", "auto")
    assert "0 vectors are kept" in found("hybrid search").text
