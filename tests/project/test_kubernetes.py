"""The manifests for Kubernetes say what the server does: settings, ports, probes, times, and what it may."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from research_gateway.app import build_gateway
from research_shared.serving.transports.draining import FOLLOW_UP_S
from research_shared.serving.transports.http import STOP_TIMEOUT_S
from research_shared.settings import FILE_SUFFIX, PREFIX, Settings

PLACE = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAY = PLACE.with_name("kubernetes-overlay")
SECRETS = "/secrets/"


def manifests() -> dict[str, dict[str, Any]]:
    """Every object of the base by its kind."""
    base = yaml.safe_load((PLACE / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {path.name for path in PLACE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(base["resources"]) == files
    documents = [
        document
        for name in base["resources"]
        for document in yaml.safe_load_all((PLACE / name).read_text(encoding="utf-8"))
    ]
    found = {document["kind"]: document for document in documents}
    assert len(found) == len(documents)
    return found


@pytest.fixture
def variables() -> dict[str, str]:
    lines = (PLACE / "settings.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_settings_are_settings_with_values_that_are_taken(
    variables: dict[str, str], tmp_path: Path
) -> None:
    for name, value in variables.items():
        if name.endswith(FILE_SUFFIX):
            assert value.startswith(SECRETS)
            file = tmp_path / value.removeprefix(SECRETS)
            file.write_text("a-secret-of-more-than-thirty-two-bytes", encoding="utf-8")
            variables[name] = str(file)
    variables |= {f"{PREFIX}ROOTS": str(tmp_path), f"{PREFIX}AUDIT_LOG": str(tmp_path.parent / "a.jsonl")}
    settings = Settings.load(variables)
    assert settings.auth_tokens
    build_gateway(settings.model_copy(update={"index_dir": None}))


def test_the_container_may_write_where_the_settings_say_and_nowhere_else(variables: dict[str, str]) -> None:
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts[variables["RESEARCH_ROOTS"]] is True
    assert mounts[SECRETS.rstrip("/")] is True
    assert mounts[variables["RESEARCH_INDEX_DIR"]] is False
    assert mounts[str(Path(variables["RESEARCH_AUDIT_LOG"]).parent)] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (
        pod["enableServiceLinks"] is False
    )  # names of Services would come as variables that are no settings
    user = f"USER {pod['securityContext']['runAsUser']}"
    assert user in (PLACE.parents[1] / "Dockerfile").read_text(encoding="utf-8")


def test_a_pod_has_more_time_to_stop_than_the_server_takes(variables: dict[str, str]) -> None:
    pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    notice, calls = (float(variables[f"RESEARCH_DRAIN{part}_S"]) for part in ("_NOTICE", ""))
    assert pod["terminationGracePeriodSeconds"] > notice + calls + FOLLOW_UP_S + STOP_TIMEOUT_S
    ready = pod["containers"][0]["readinessProbe"]
    assert (
        ready["periodSeconds"] * ready["failureThreshold"] < notice
    )  # so that no call comes when it is refused


def test_a_replica_that_starts_again_finds_its_trail_and_its_index(variables: dict[str, str]) -> None:
    spec = manifests()["StatefulSet"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    kept = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in claims}
    assert kept == {str(Path(variables["RESEARCH_AUDIT_LOG"]).parent), variables["RESEARCH_INDEX_DIR"]}


def test_replicas_that_read_the_folder_do_not_bring_more_of_them() -> None:
    scaler = manifests()["HorizontalPodAutoscaler"]["spec"]
    up = scaler["behavior"]["scaleUp"]
    (policy,) = up["policies"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert up["stabilizationWindowSeconds"] <= policy["periodSeconds"]


def test_ports_and_names_agree() -> None:
    found = manifests()
    (container,) = found["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) in container["args"]
    assert {
        container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")
    } == {port["name"]}
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert found["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]
    assert found["StatefulSet"]["spec"]["serviceName"] == found["Service"]["metadata"]["name"]
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("StatefulSet", found["StatefulSet"]["metadata"]["name"])


def test_the_ingress_leads_to_the_service_and_passes_on_what_clients_need_alone() -> None:
    ingress = yaml.safe_load((OVERLAY / "ingress.yaml").read_text(encoding="utf-8"))
    service = manifests()["Service"]
    (rule,) = ingress["spec"]["rules"]
    for path in rule["http"]["paths"]:
        assert path["backend"]["service"] == {
            "name": service["metadata"]["name"],
            "port": {"name": service["spec"]["ports"][0]["name"]},
        }
    assert {path["path"] for path in rule["http"]["paths"]} == {
        "/mcp",
        "/.well-known/oauth-protected-resource",
    }
    overlay = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text(encoding="utf-8"))
    settings = Settings.load(
        dict(each.split("=", 1) for each in overlay["configMapGenerator"][0]["literals"])
    )
    assert list(settings.allowed_hosts) == [rule["host"]] == ingress["spec"]["tls"][0]["hosts"]
    assert settings.trusted_proxies


def test_one_thing_says_how_many_gateways_there_are() -> None:
    found = manifests()
    assert "replicas" not in found["StatefulSet"]["spec"]
    assert (
        found["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
        > found["PodDisruptionBudget"]["spec"]["minAvailable"]
    )


def test_everything_chooses_the_same_pods() -> None:
    found = manifests()
    stateful = found["StatefulSet"]["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    assert labels
    assert stateful["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_folder_is_a_volume_that_is_there_and_that_nobody_writes() -> None:
    found = manifests()
    volume, claim = found["PersistentVolume"], found["PersistentVolumeClaim"]
    namespace = found["Namespace"]["metadata"]["name"]
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["claimRef"] == {"namespace": namespace, "name": claim["metadata"]["name"]}
    assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"] == ""
    assert claim["spec"]["accessModes"] == volume["spec"]["accessModes"] == ["ReadOnlyMany"]
    assert volume["spec"]["nfs"]["readOnly"] is True
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_the_overlay_to_copy_changes_what_there_is() -> None:
    """A name that matches nothing is no error for Kustomize."""
    overlay = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text(encoding="utf-8"))
    assert (OVERLAY / overlay["resources"][0]).resolve() == PLACE
    assert {path.name for path in OVERLAY.glob("*.yaml")} == {"kustomization.yaml", *overlay["resources"][1:]}
    found = manifests()
    image = found["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert [each["name"] for each in overlay["images"]] == [image]
    for place in (PLACE, PLACE.with_name("kubernetes-fleet")):
        # One that is renamed below has the name no more that the overlay gives.
        assert "images" not in yaml.safe_load((place / "kustomization.yaml").read_text(encoding="utf-8"))
    (generated,) = overlay["configMapGenerator"]
    assert (generated["name"], generated["behavior"]) == ("research-settings", "merge")
    Settings.load(dict(each.split("=", 1) for each in generated["literals"]))
    for patch in overlay["patches"]:
        target = found[patch["target"]["kind"]]
        assert target["metadata"]["name"] == patch["target"]["name"]
        for change in yaml.safe_load(patch["patch"]):
            for part in change["path"].strip("/").split("/"):
                target = target[part]
