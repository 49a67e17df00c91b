"""docs/rayjob.yaml has the fields that KubeRay's RayJob has, and no others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from regrow.lab import on_node

FILE = Path(__file__).parents[2] / "docs" / "rayjob.yaml"

TEXT = {"type": "string"}
WHOLE = {"type": "integer", "minimum": 0}
SWITCH = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def closed(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """An object that has no fields but these."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


POD = closed(
    ("spec",),
    metadata={"type": "object"},
    spec={
        "type": "object",
        "required": ["containers"],
        "properties": {
            "containers": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "required": ["name", "image"]},
            }
        },
    },
)

# Of ray-operator/apis/ray/v1/rayjob_types.go and raycluster_types.go of KubeRay, written down from there: the names and
# kinds of all fields that a user may set, but for what is Kubernetes' own (pods, services), which is hardly looked at.
RAY_JOB = closed(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object", "required": ["name"]},
    spec=closed(
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        backoffLimit=WHOLE,
        clusterSelector=TEXTS,
        deletionStrategy={"type": "object"},
        entrypoint=TEXT,
        entrypointNumCpus={"type": "number"},
        entrypointNumGpus={"type": "number"},
        entrypointResources=TEXT,
        jobId=TEXT,
        managedBy={"enum": ["ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"]},
        metadata=TEXTS,
        rayClusterSpec=closed(
            ("headGroupSpec",),
            autoscalerOptions={"type": "object"},
            enableInTreeAutoscaling=SWITCH,
            headServiceAnnotations=TEXTS,
            rayVersion=TEXT,
            suspend=SWITCH,
            headGroupSpec=closed(
                ("rayStartParams", "template"),
                enableIngress=SWITCH,
                headService={"type": "object"},
                rayStartParams=TEXTS,
                serviceType=TEXT,
                template=POD,
            ),
            workerGroupSpecs={
                "type": "array",
                "items": closed(
                    ("groupName", "maxReplicas", "minReplicas", "rayStartParams", "template"),
                    groupName=TEXT,
                    maxReplicas=WHOLE,
                    minReplicas=WHOLE,
                    numOfHosts=WHOLE,
                    rayStartParams=TEXTS,
                    replicas=WHOLE,
                    scaleStrategy={"type": "object"},
                    template=POD,
                ),
            },
        ),
        runtimeEnvYAML=TEXT,
        schedule=TEXT,
        shutdownAfterJobFinishes=SWITCH,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        submitterConfig={"type": "object"},
        submitterPodTemplate=POD,
        suspend=SWITCH,
        ttlSecondsAfterFinished=WHOLE,
    ),
)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed here: make test-ray")
    return yaml.safe_load(FILE.read_text())


def test_it_is_a_ray_job(manifest: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(manifest, RAY_JOB)
    wrong = copy.deepcopy(manifest)
    wrong["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["minReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.validate(wrong, RAY_JOB)


def test_it_says_what_regrow_and_ray_understand(manifest: dict[str, Any]) -> None:
    from typer.testing import CliRunner

    from regrow.cli.main import app

    spec = manifest["spec"]
    told = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).stdout
    words = spec["entrypoint"].split()
    assert words[:2] == ["regrow", "run"]
    for word in words:
        assert not word.startswith("--") or word in told
    groups = spec["rayClusterSpec"]["workerGroupSpecs"]
    # The operator writes these behind "ray start --resources=", in a shell.
    assert on_node.STACK in groups[0]["rayStartParams"]["resources"]
    pins = (FILE.parents[1] / "constraints-ray.txt").read_text().splitlines()
    assert f"ray=={spec['rayClusterSpec']['rayVersion']}" in pins
