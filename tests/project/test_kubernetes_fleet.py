"""The overlay for a fleet on Kubernetes: what it starts, with which settings and mounts, and who may talk to whom."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from research_gateway.cli import app
from research_shared.settings import FILE_SUFFIX, Settings
from support.compose import read_compose

PLACE = Path(__file__).parents[2] / "deploy" / "kubernetes-fleet"
BASE = PLACE.with_name("kubernetes")
SECRETS = "/secrets/"
OVERLAY = yaml.safe_load((PLACE / "kustomization.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = [
    document
    for name in OVERLAY["resources"]
    if name.endswith(".yaml")
    for document in yaml.safe_load_all((PLACE / name).read_text(encoding="utf-8"))
]
WORKLOADS = {
    each["metadata"]["name"]: each for each in OBJECTS if each["kind"] in {"StatefulSet", "Deployment"}
}
OURS = ["worker", "indexer"]


def pod_of(name: str) -> dict[str, Any]:
    pod: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return pod


def variables() -> dict[str, str]:
    """The settings of the base with what the overlay changes."""
    assert OVERLAY["configMapGenerator"][0]["behavior"] == "merge"
    lines = [
        line
        for place in (BASE, PLACE)
        for line in (place / "settings.env").read_text(encoding="utf-8").splitlines()
    ]
    return dict(line.split("=", 1) for line in lines)


def labels_of(name: str) -> dict[str, str]:
    labels: dict[str, str] = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    return labels


def chosen(selector: dict[str, Any]) -> set[str]:
    """Which workloads of the overlay a selector chooses."""
    wanted = selector.get("matchLabels", {})
    rules = selector.get("matchExpressions", [])
    return {
        name
        for name in WORKLOADS
        if wanted.items() <= labels_of(name).items()
        and all(labels_of(name).get(rule["key"]) in rule["values"] for rule in rules)
    }


def test_the_settings_are_settings_with_values_that_are_taken(tmp_path: Path) -> None:
    taken = variables()
    for name, value in taken.items():
        if name.endswith(FILE_SUFFIX):
            file = tmp_path / value.removeprefix(SECRETS)
            secret = (
                "redis://:p@valkey:6379/0"
                if file.name == "tasks-url"
                else "a-secret-of-more-than-thirty-two-bytes"
            )
            file.write_text(secret, encoding="utf-8")
            taken[name] = str(file)
    settings = Settings.load({**taken, "RESEARCH_ROOTS": str(tmp_path)})
    members = read_compose({"RESEARCH_FOLDER": "x"})["x-member-settings"]
    assert settings.search_url == members["RESEARCH_SEARCH_URL"]
    # The host name of a pod is a new one each time: it cannot tell whose index it is.
    assert settings.search_folder_id == members["RESEARCH_SEARCH_FOLDER_ID"]
    assert settings.tasks_concurrency == 0


@pytest.mark.parametrize("name", OURS)
def test_our_pods_run_commands_that_exist_and_write_where_the_settings_say(name: str) -> None:
    (container,) = pod_of(name)["containers"]
    assert pod_of(name)["enableServiceLinks"] is False
    app.parse_args(container["args"], print_error=False, exit_on_error=False)
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts == {"/research": True, "/secrets": True, "/audit": False, "/tmp": False}
    assert Path(variables()["RESEARCH_AUDIT_LOG"]).parent == Path("/audit")
    assert {mount["name"] for mount in container["volumeMounts"]} <= {
        *(volume["name"] for volume in pod_of(name)["volumes"]),
        *(claim["metadata"]["name"] for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", ())),
    }
    assert container["envFrom"] == [{"configMapRef": {"name": OVERLAY["configMapGenerator"][0]["name"]}}]


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_are_unprivileged_and_chosen_by_their_own_workload(name: str) -> None:
    pod, spec = pod_of(name), WORKLOADS[name]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"].get("readOnlyRootFilesystem", False) is (name != "opensearch")
    assert container["resources"]["limits"]["memory"]
    assert chosen(spec["selector"]) == {name}


def test_there_is_one_indexer_at_a_time() -> None:
    spec = WORKLOADS["indexer"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_stores_are_found_by_the_names_of_the_settings_and_listen_on_their_ports() -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "Service"}
    assert services.keys() == {"valkey", "opensearch"}
    for name, service in services.items():
        assert chosen({"matchLabels": service["selector"]}) == {name}
        (container,), (port,) = pod_of(name)["containers"], service["ports"]
        assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
        image = read_compose({"RESEARCH_FOLDER": "x"})["services"][name]["image"]
        assert container["image"] == image
    assert variables()["RESEARCH_SEARCH_URL"].endswith(
        f"//opensearch:{services['opensearch']['ports'][0]['port']}"
    )


def test_a_full_store_of_tasks_refuses_more_before_its_container_is_ended() -> None:
    (container,) = pod_of("valkey")["containers"]
    command = read_compose({"RESEARCH_FOLDER": "x"})["services"]["valkey"]["command"]
    assert container["args"][2:] == command[2:]  # the rest is where the file with the password is
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--maxmemory"].endswith("mb")
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert 512 <= int(options["--maxmemory"].removesuffix("mb")) < 1024


def test_gateways_of_the_fleet_have_no_index_of_their_own() -> None:
    gateway = yaml.safe_load((BASE / "gateway.yaml").read_text(encoding="utf-8"))
    (patch,) = OVERLAY["patches"]
    assert patch["target"] == {"kind": gateway["kind"], "name": gateway["metadata"]["name"]}
    for change in yaml.safe_load((PLACE / patch["path"]).read_text(encoding="utf-8")):
        *parents, last = [
            int(part) if part.isdigit() else part for part in change["path"].strip("/").split("/")
        ]
        place = gateway
        for part in parents:
            place = place[part]
        if change["op"] == "test":
            assert place[last] == change["value"]
        else:
            assert change["op"] == "remove"
            del place[last]
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        "/research",
        "/audit",
        "/secrets",
        "/tmp",
    }
    assert [claim["metadata"]["name"] for claim in gateway["spec"]["volumeClaimTemplates"]] == ["audit"]


def test_only_members_of_the_fleet_reach_the_stores_and_nobody_reaches_members() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy"}
    gateway = yaml.safe_load((BASE / "gateway.yaml").read_text(encoding="utf-8"))
    label = gateway["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    assert chosen(policies["stores"]["podSelector"]) == {"valkey", "opensearch"}
    (ingress,) = policies["stores"]["ingress"]
    assert "egress" not in policies["stores"]
    assert "Egress" in policies["stores"]["policyTypes"]
    callers = ingress["from"][0]["podSelector"]
    for selector in (callers, policies["to-stores"]["podSelector"]):
        assert chosen(selector) == {"worker", "indexer"}
        assert label in selector["matchExpressions"][0]["values"]
    reached = [chosen(rule["to"][0]["podSelector"]) for rule in policies["to-stores"]["egress"]]
    assert reached == [{"valkey"}, {"opensearch"}]
    assert chosen(policies["members"]["podSelector"]) == {"worker", "indexer"}
    assert "Ingress" in policies["members"]["policyTypes"]
    assert "ingress" not in policies["members"]
