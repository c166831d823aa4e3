from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def documents() -> list[dict]:
    return list(yaml.safe_load_all((ROOT / "launch" / "kubernetes" / "pytorchjob.yaml").read_text()))


def pods(documents: list[dict]) -> list[dict]:
    replicas = documents[0]["spec"]["pytorchReplicaSpecs"]
    return [replicas["Master"], replicas["Worker"]]


def test_it_is_a_pytorchjob_with_one_master(documents):
    job, claim = documents
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert job["spec"]["pytorchReplicaSpecs"]["Master"]["replicas"] == 1
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert job["spec"]["runPolicy"]["backoffLimit"] > 0


def test_ranks_and_gpus_of_a_pod_agree(documents):
    for pod in pods(documents):
        (container,) = pod["template"]["spec"]["containers"]
        assert container["name"] == "pytorch"
        assert str(container["resources"]["limits"]["nvidia.com/gpu"]) == documents[0]["spec"]["nprocPerNode"]


def test_torchrun_is_the_first_process_and_has_the_time_to_save(documents):
    for pod in pods(documents):
        assert pod["restartPolicy"] == "OnFailure"
        spec = pod["template"]["spec"]
        (container,) = spec["containers"]
        assert container["command"][:3] == ["/bin/bash", "-c", 'exec torchrun "$@"']
        env = {one["name"]: one["value"] for one in container["env"]}
        assert 120 <= int(env["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < spec["terminationGracePeriodSeconds"]


def test_checkpoints_go_to_a_claim_that_outlives_the_pod(documents):
    job, claim = documents
    for pod in pods(documents):
        spec = pod["template"]["spec"]
        (container,) = spec["containers"]
        root = {one["name"]: one["value"] for one in container["env"]}["OUTPUT_ROOT"]
        (mount,) = [one["name"] for one in container["volumeMounts"] if one["mountPath"] == root]
        (volume,) = [one for one in spec["volumes"] if one["name"] == mount]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert not volume["persistentVolumeClaim"].get("readOnly")


def test_the_recipe_takes_its_options(documents):
    from cosmos_lidar.recipes.lidar_tokenizer import RECIPES
    from cosmos_lidar.training.command_line import choose

    for pod in pods(documents):
        script, *options = pod["template"]["spec"]["containers"][0]["args"]
        assert (ROOT / script).is_file()
        assert choose(options, RECIPES)[0].data.path == "/data/shards"


def test_pods_are_not_root(documents):
    for pod in pods(documents):
        assert pod["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
