"""compose.yaml starts what there is, with settings that are taken, and lets containers do what they need and nothing else."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from research_documents.cli import app as documents_app
from research_gateway.cli import app as gateway_app
from research_shared.errors import ConfigurationError
from research_shared.serving.auth import check_exposure
from research_shared.serving.transports.draining import FOLLOW_UP_S
from research_shared.serving.transports.http import STOP_TIMEOUT_S
from research_shared.settings import (
    FILE_SUFFIX,
    OTHER_VARIABLES,
    Settings,
    refuse_unknown_variables,
    secret_settings,
)
from research_shared.settings.names import variable_of
from support.compose import ROOT, environment_of, read_compose, secret_path, volumes_of

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = read_compose({"RESEARCH_FOLDER": "/folder"})
SETTINGS_FILE = ROOT / "deploy" / "compose" / "settings.env"
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
FLEET = [name for name, service in SERVICES.items() if service.get("profiles") == ["fleet"]]
SECRETS: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "compose" / "make_secrets.py"))


def test_the_folder_of_the_index_has_a_name_because_containers_have_new_host_names() -> None:
    given = {"RESEARCH_FOLDER": "/folder", "RESEARCH_SEARCH_FOLDER_ID": "papers"}
    for environ, name in (({"RESEARCH_FOLDER": "/folder"}, "research"), (given, "papers")):
        services = read_compose(environ)["services"]
        members = [environment_of(services[each], environ) for each in OURS if each in FLEET]
        searching = [each for each in members if "RESEARCH_SEARCH_URL" in each]
        assert len(searching) == 5
        assert {each["RESEARCH_SEARCH_FOLDER_ID"] for each in searching} == {name}


@pytest.mark.parametrize("name", OURS)
def test_the_settings_are_settings_with_values_that_are_taken(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    variables = environment_of(service, {})
    for variable in [each for each in variables if each.endswith(FILE_SUFFIX)]:
        secrets = {secret_path(each): each for each in service["secrets"]}
        file = tmp_path / secrets[variables[variable]]
        file.write_text(SECRETS["new_secrets"]()[file.name], encoding="utf-8")
        variables[variable] = str(file)
    settings = Settings.load({**variables, "RESEARCH_ROOTS": str(tmp_path)})
    assert (
        float(service["stop_grace_period"].removesuffix("s"))
        > settings.drain_s + FOLLOW_UP_S + STOP_TIMEOUT_S
    )


def test_variables_of_the_file_itself_do_not_keep_a_server_from_starting() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(RESEARCH_\w+)", text))
    settings = {variable_of(name) for name in Settings.model_fields}
    own = {name for name in named if name.removesuffix(FILE_SUFFIX) not in settings}
    assert own == OTHER_VARIABLES - {"RESEARCH_CONFIG"}
    refuse_unknown_variables(own, Settings.model_fields)


def test_names_without_a_value_are_settings_that_are_passed_on() -> None:
    names = [
        line
        for line in SETTINGS_FILE.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    settings = {f"RESEARCH_{name.upper()}" for name in Settings.model_fields}
    assert {name.removesuffix(FILE_SUFFIX) for name in names} <= settings
    secrets = {variable_of(name) for name in secret_settings(Settings.model_fields)} & set(names)
    assert secrets
    lines = SETTINGS_FILE.read_text(encoding="utf-8").splitlines()
    for name in secrets:  # the file comes first, because it is the better place
        assert lines[lines.index(name) - 1].startswith(f"# {name}{FILE_SUFFIX}=/run/secrets/")
    # A name alone after a line with its value would take the value away again.
    commented = re.findall(r"^# (RESEARCH_\w+)=", "\n".join(lines), re.MULTILINE)
    assert [name for name in commented if not name.endswith(FILE_SUFFIX)] == [
        "RESEARCH_LOGIN_DIR"
    ]  # in a sentence
    assert not {name for name in commented if name.endswith(FILE_SUFFIX)} & set(names)
    passed_on = environment_of(
        SERVICES["gateway"], {"RESEARCH_PROVIDER": "ollama", "RESEARCH_ROOTS": "/elsewhere"}
    )
    assert passed_on["RESEARCH_PROVIDER"] == "ollama"
    assert "RESEARCH_ROOTS" not in passed_on


@pytest.mark.parametrize("name", OURS)
def test_the_commands_are_commands(name: str) -> None:
    service = SERVICES[name]
    app = documents_app if service.get("entrypoint") == ["research-documents"] else gateway_app
    app.parse_args(
        service.get("command", ["serve", "--transport", "http"]), print_error=False, exit_on_error=False
    )


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "opensearch")  # which writes its configuration when it starts
    folders = {volume.target: volume.read_only for volume in volumes_of(service)}
    assert folders.get("/research", True) is True
    assert name not in OURS or "/research" in folders
    for volume in volumes_of(service):
        kept = volume.source in COMPOSE["volumes"]
        assert volume.read_only is not kept
        if kept and name in OURS:
            assert (
                f"{volume.target} " in DOCKERFILE or f"{volume.target}\n" in DOCKERFILE
            )  # its owner is the user


def test_images_of_others_have_a_version_and_a_digest() -> None:
    images = {name: SERVICES[name]["image"] for name in SERVICES if name not in OURS}
    assert images.keys() == {"balancer", "valkey", "opensearch"}
    for image in images.values():
        assert re.fullmatch(r"[a-z-]+/[a-z-]+:\d+\.\d+\.\d+(-[a-z0-9.]+)?@sha256:[0-9a-f]{64}", image), image


def test_ports_are_for_this_machine_and_stores_for_the_fleet_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"gateway", "documents", "balancer"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    networks = COMPOSE["networks"]
    for name in set(FLEET) - set(OURS) - {"balancer"}:
        assert all(networks[network].get("internal") for network in SERVICES[name]["networks"])
        assert not SERVICES[name]["networks"].keys() & SERVICES["balancer"]["networks"].keys()


@pytest.mark.parametrize("name", ["gateway", "documents"])
def test_a_port_can_be_closed_to_callers_without_a_token(name: str, tmp_path: Path) -> None:
    closing = {"RESEARCH_FOLDER": "/folder", "RESEARCH_ALLOW_UNAUTHENTICATED": "false"}
    service = read_compose(closing)["services"][name]
    closed = Settings.load({**environment_of(service, {}), "RESEARCH_ROOTS": str(tmp_path)})
    with pytest.raises(ConfigurationError):
        check_exposure(closed, "0.0.0.0", authenticated=False)
    opened = Settings.load({**environment_of(SERVICES[name], {}), "RESEARCH_ROOTS": str(tmp_path)})
    check_exposure(opened, "0.0.0.0", authenticated=False)


def test_the_balancer_is_the_proxy_that_replicas_believe_and_knows_where_they_are() -> None:
    replicas = [name for name in FLEET if name.startswith("gateway-")]
    balancer = SERVICES["balancer"]
    for number, name in enumerate(replicas, start=1):
        environment = environment_of(SERVICES[name], {})
        assert environment["RESEARCH_TRUSTED_PROXIES"] == balancer["networks"]["front"]["ipv4_address"]
        assert environment["RESEARCH_REPLICA"] == "abc"[number - 1]
        address = SERVICES[name]["networks"]["front"]["ipv4_address"]
        assert f"s/127.0.0.1:{8000 + number}/{address}:8000/" in balancer["command"][-1]
    assert "s/listen 127.0.0.1:8000/listen 8000/" in balancer["command"][-1]
    assert "listen 127.0.0.1:8000;" in (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    logs = [environment_of(SERVICES[name], {}).get("RESEARCH_AUDIT_LOG") for name in [*replicas, "worker"]]
    assert len(set(logs)) == len(logs)


def test_what_the_gateways_still_answer_passes_the_balancer() -> None:
    balancer, gateway = SERVICES["balancer"], SERVICES["gateway-a"]
    assert balancer["stop_signal"] == "SIGQUIT"  # nginx ends at once at others
    assert balancer["stop_grace_period"] == gateway["stop_grace_period"]


def test_secrets_of_a_server_alone_have_a_directory_before_they_are_made() -> None:
    # Docker makes what it is to mount, as root, and then nobody else can write there.
    (mounted,) = [volume for volume in volumes_of(SERVICES["gateway"]) if volume.target == "/run/secrets"]
    assert [each.name for each in (ROOT / mounted.source).glob(".*")] == [".gitignore"]


@pytest.mark.parametrize("name", ["gateway", "documents"])
def test_a_server_alone_can_read_the_secrets_that_settings_name_and_no_others(
    name: str, tmp_path: Path
) -> None:
    made = SECRETS["write_secrets"](tmp_path / "secrets")
    service = read_compose({"RESEARCH_FOLDER": "/folder", "RESEARCH_SECRETS": str(tmp_path / "secrets")})[
        "services"
    ][name]
    (mounted,) = [volume for volume in volumes_of(service) if volume.target == "/run/secrets"]
    # The container is another user: it sees what all may see, from the directory that is mounted.
    assert Path(mounted.source).stat().st_mode & 0o777 == 0o755
    named = re.findall(
        r"^# (RESEARCH_\w+)=/run/secrets/(\S+)$", SETTINGS_FILE.read_text(encoding="utf-8"), re.MULTILINE
    )
    variables = {
        variable: str(Path(mounted.source) / file) for variable, file in named if f"alone/{file}" in made
    }
    assert variables.keys() == {
        f"RESEARCH_{each}_FILE" for each in ("AUTH_TOKENS", "STATE_KEYS", "AUDIT_KEY")
    }
    assert {str(file) for file in Path(mounted.source).iterdir()} == set(variables.values())
    assert all(Path(file).stat().st_mode & 0o777 == 0o444 for file in variables.values())
    settings = Settings.load({**environment_of(service, {}), **variables, "RESEARCH_ROOTS": str(tmp_path)})
    assert settings.auth_tokens
    assert settings.audit_key


@pytest.mark.parametrize("replica", ["gateway-a", "gateway-b", "gateway-c"])
@pytest.mark.parametrize(
    "chosen",
    [
        {"RESEARCH_AUTH_TOKENS": "ann=a-token-of-ann-and-nobody-else"},
        {
            "RESEARCH_PUBLIC_URL": "https://research.example",
            "RESEARCH_LOGIN": "oidc",
            "RESEARCH_AUTH_ISSUER": "https://login.example",
            "RESEARCH_LOGIN_CLIENT_ID": "research",
            "RESEARCH_LOGIN_CLIENT_SECRET": "a-secret-of-more-than-thirty-two-bytes",
            "RESEARCH_LOGIN_DIR": "/login/state",
        },
    ],
    ids=["tokens of their own", "login"],
)
def test_a_fleet_takes_other_authentication_than_the_file_of_its_tokens(
    replica: str, chosen: dict[str, str], tmp_path: Path
) -> None:
    without = {f"RESEARCH_{each}_FILE": "" for each in ("AUTH_TOKENS", "STATE_KEYS", "AUDIT_KEY")}
    service = read_compose({"RESEARCH_FOLDER": "/folder", **without})["services"][replica]
    variables = environment_of(service, chosen)
    del variables["RESEARCH_TASKS_URL_FILE"]
    settings = Settings.load({**variables, "RESEARCH_ROOTS": str(tmp_path)})
    assert bool(settings.auth_tokens) is ("RESEARCH_AUTH_TOKENS" in chosen)
    assert settings.login == chosen.get("RESEARCH_LOGIN")
    assert "/login" in {volume.target for volume in volumes_of(service) if not volume.read_only}
    assert "/login" not in {volume.target for volume in volumes_of(SERVICES["worker"])}


def test_secrets_are_made_once_and_only_their_owner_sees_all_of_them(tmp_path: Path) -> None:
    place = tmp_path / "secrets"
    made = SECRETS["write_secrets"](place)
    assert {name for name in made if "/" not in name} == COMPOSE["secrets"].keys()
    assert place.stat().st_mode & 0o777 == 0o700
    before = {name: (place / name).read_text(encoding="utf-8") for name in made}
    assert before["valkey-conf"].split()[1] in before["tasks-url"]
    (place / "state-keys").unlink()
    assert SECRETS["write_secrets"](place) == ["state-keys"]
    assert (place / "auth-tokens").read_text(encoding="utf-8") == before["auth-tokens"]
    (place / "tasks-url").unlink()
    with pytest.raises(FileExistsError):
        SECRETS["write_secrets"](place)
