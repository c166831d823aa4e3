"""Push and download over HTTP: the real client against a server of the Hub's endpoints, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.hub.opening import OpenedModel
from cosmos_lidar.hub.package import PackageOptions, write_package
from cosmos_lidar.hub.upload import upload
from tests.hub.models import make
from tests.hub.server import GATED, TOKEN, Hub, serve

PATIENCE_S = 300


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve(Hub()) as found:
        yield found


class User:
    """Somebody whose programs reach the Hub at the server's address."""

    def __init__(self, hub: Hub, home: Path, token: str = TOKEN) -> None:
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        self.environment |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        self.environment |= {"HF_TOKEN": token} if token else {}

    def push(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = self._python("-m", "cosmos_lidar.cli", "push", *map(str, arguments))
        assert done.returncode == status, done.stderr
        return done

    def load(self, *tries: tuple[str, dict[str, str]], **environment: str) -> list[str]:
        program = Path(__file__).parents[1] / "workers" / "hub_user.py"
        done = self._python(str(program), json.dumps(tries), **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command, variables = [sys.executable, *arguments], self.environment | environment
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.slow
def test_a_model_is_pushed_and_loaded_by_its_name(hub: Hub, tmp_path: Path):
    family, network = make("video tokenizer")
    options = PackageOptions("org/tokens", license="mit")
    write_package(OpenedModel(network, family), tmp_path, tmp_path / "model", options)
    user = User(hub, tmp_path / "home")
    done = user.push(tmp_path / "model", "org/tokens", "--private", "--revision", "v1", "--summary", "Of rain.")
    assert f"{hub.address}/org/tokens" in done.stdout
    assert "org/tokens" in hub.private
    files = hub.repos["org/tokens"]["v1"]
    assert sorted(files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    assert b"Of rain." in files["README.md"]
    assert sorted(hub.repos["org/tokens"]["main"]) == [".gitattributes"]
    assert f"PUT /lfs/upload/{next(iter(hub.lfs))}" in hub.requests

    hub.repos["org/tokens"]["v1"]["weights.bin"] = b"a pickle"
    hub.repos["org/pickles"] = {"main": {"pytorch_model.bin": b"a pickle"}}
    hub.repos["org/pipeline"] = {"main": {f"vae/{name}": content for name, content in files.items()}}
    hub.requests.clear()
    loaded, other, missing, revision, gated, pickled, part = user.load(
        ("org/tokens", {"revision": "v1"}),
        ("org/tokens", {"revision": "v1", "family": "also"}),
        ("org/none", {}),
        ("org/tokens", {"revision": "v2"}),
        (GATED, {}),
        ("org/pickles", {}),
        ("org/pipeline", {"subfolder": "vae"}),
    )
    first = next(network.parameters()).flatten()[0].item()
    assert loaded == f"ContinuousTokenizer {first:.6f}"
    assert part == loaded
    assert "weights of the family video_tokenizer (ContinuousTokenizer) [file org/tokens]" in other
    assert "Expected: a model of also" in other
    assert "no such file, folder or repository [file org/none]" in missing
    assert "no such branch, tag or commit [file org/tokens, key v2]" in revision
    assert "a gated repository [file org/gated] Expected: its license accepted" in gated
    assert "no safetensors in it, but pytorch_model.bin" in pickled
    read = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert read == {"model.safetensors", "config.json"}

    hub.broken = True  # what is in the cache is enough
    cached, absent = user.load(("org/tokens", {"revision": "v1"}), ("org/other", {}), HF_HUB_OFFLINE="1")
    assert cached == loaded
    assert "not in the cache, and the Hub is not reached" in absent
    assert "`hf download org/other --local-dir FOLDER` where there is a network, then that folder" in absent


@pytest.mark.slow
def test_a_push_without_rights_or_network(hub: Hub, tmp_path: Path):
    family, network = make("video tokenizer")
    write_package(OpenedModel(network, family), tmp_path, tmp_path / "model", PackageOptions("a/b", license="mit"))
    done = User(hub, tmp_path / "home", "hf_reader").push(tmp_path / "model", "org/new", status=2)
    assert "org/new: not uploaded: " in done.stderr
    assert "--dry-run writes the folder only" in done.stderr
    assert "Traceback" not in done.stderr
    assert not hub.repos


def test_a_push_without_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match="no token of the Hub: `hf auth login`, or HF_TOKEN; --dry-run writes"):
        upload([tmp_path / "README.md"], "org/name", private=False)
