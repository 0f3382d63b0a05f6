"""What stands under examples/ to run on other people's machines has the form that they expect."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_cluster_launchers_file_satisfies_rays_own_schema():
    ray = pytest.importorskip("ray")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    config = yaml.safe_load((EXAMPLES / "ray" / "cluster.yaml").read_text())
    jsonschema.validate(config, schema)
    assert (EXAMPLES.parent / config["file_mounts"]["~/three-nodes.toml"]).is_file()


# Of KubeRay's RayCluster, ray.io/v1, the part that the manifest uses: what is needed, of which
# type, and closed, so that a misspelt key is found. The whole definition is the operator's.
POD = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers"],
            "additionalProperties": False,
            "properties": {
                "securityContext": {"type": "object"},
                "affinity": {"type": "object"},
                "volumes": {
                    "type": "array",
                    "items": {"type": "object", "required": ["name", "emptyDir"]},
                },
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "image"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "image": {"type": "string"},
                            "env": {
                                "type": "array",
                                "items": {"type": "object", "required": ["name"]},
                            },
                            "resources": {"type": "object"},
                            "volumeMounts": {
                                "type": "array",
                                "items": {"type": "object", "required": ["name", "mountPath"]},
                            },
                        },
                    },
                },
            },
        }
    },
}
# KubeRay passes these to `ray start`: their values are texts.
PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}
RAY_CLUSTER = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayCluster"},
        "spec": {
            "type": "object",
            "required": ["headGroupSpec"],
            "additionalProperties": False,
            "properties": {
                "headGroupSpec": {
                    "type": "object",
                    "required": ["rayStartParams", "template"],
                    "additionalProperties": False,
                    "properties": {
                        "serviceType": {"type": "string"},
                        "rayStartParams": PARAMS,
                        "template": POD,
                    },
                },
                "workerGroupSpecs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["groupName", "maxReplicas", "minReplicas", "template"],
                        "additionalProperties": False,
                        "properties": {
                            "groupName": {"type": "string"},
                            "replicas": {"type": "integer"},
                            "minReplicas": {"type": "integer"},
                            "maxReplicas": {"type": "integer"},
                            "rayStartParams": PARAMS,
                            "template": POD,
                        },
                    },
                },
            },
        },
    },
}


def manifest():
    return yaml.safe_load((EXAMPLES / "kubernetes" / "raycluster.yaml").read_text())


def test_the_manifest_has_the_form_of_a_ray_cluster():
    jsonschema.validate(manifest(), RAY_CLUSTER)


def test_every_pod_has_room_for_rays_object_store_and_may_serve_faults():
    spec = manifest()["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert "vmotion.json" == pod["securityContext"]["seccompProfile"]["localhostProfile"]
        mounted = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert "Memory" == volumes[mounted["/dev/shm"]]["emptyDir"]["medium"]


def test_the_seccomp_profile_lets_userfaultfd_through():
    profile = json.loads((EXAMPLES / "kubernetes" / "seccomp.json").read_text())
    denied = {name for rule in profile["syscalls"] for name in rule["names"]}
    assert "SCMP_ACT_ALLOW" == profile["defaultAction"]
    assert not denied & {"userfaultfd", "ioctl", "memfd_create", "process_vm_readv"}
    assert {"mount", "bpf", "init_module", "kexec_load"} <= denied
