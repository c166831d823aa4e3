"""Sample loaders of the user: refused by default, read without being run, and run with a warning where trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.energon_yaml import DatasetYaml, read_dataset_yaml
from cosmos_lidar.shards.sample_loader import SampleLoader, UserFunction, import_function, parse_function
from tests.shards.energon_folders import CRUDE

CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()

def sample_loader(raw):
    return {"upper": raw["text"].upper(), "key": raw["__key__"]}

def part_filter(part):
    return part == "text"
"""
IMAGES = "sample_type:\n  __module__: megatron.energon\n  __class__: ImageSample\n"


def folder(tmp_path: Path, code: str = CODE) -> Path:
    (tmp_path / "sample_loader.py").write_text(code)
    return tmp_path / "dataset.yaml"


def read(path: Path, text: str, trust: bool = True) -> DatasetYaml:
    path.write_text(text)
    return read_dataset_yaml(path, trust)


@pytest.mark.parametrize(
    "named",
    [
        "sample_loader: sample_loader.py:sample_loader\npart_filter: sample_loader.py:part_filter\n",
        "sample_loader: sample_loader.py\npart_filter: [text]\n",
        "sample_loader: sample_loader.py\n",
    ],
)
@pytest.mark.parametrize("kind", [CRUDE, IMAGES])
def test_a_trusted_loader(tmp_path: Path, caplog, named: str, kind: str) -> None:
    path = folder(tmp_path)
    loader = read(path, kind + named).loader
    assert loader is not None
    assert not (tmp_path / "ran").exists()  # read, and not imported
    assert f"running sample_loader of {tmp_path / 'sample_loader.py'}" in caplog.text
    assert ("running part_filter of" in caplog.text) == (":part_filter" in named)
    assert "named in" in caplog.text
    assert "with all your rights" in caplog.text
    assert loader.reads("text")
    assert loader.reads("other") == ("part_filter" not in named)
    assert loader({"text": b"abc", "__key__": "7"}) == {"upper": b"ABC", "key": "7"}
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", [CRUDE, IMAGES])
@pytest.mark.parametrize("value", ["sample_loader.py:sample_loader", "{__module__: os, __function__: system}"])
def test_without_trust_the_way_out_is_named(tmp_path: Path, kind: str, value: str) -> None:
    path = folder(tmp_path)
    with pytest.raises(DataError, match=r"sample_loader: .* is not accepted.*data.trust_sample_loaders=true"):
        read(path, f"{kind}sample_loader: {value}\n", trust=False)
    assert not (tmp_path / "ran").exists()


def test_a_function_of_a_module(tmp_path: Path, caplog) -> None:
    loader = read(
        folder(tmp_path), CRUDE + "sample_loader: {__module__: collections, __function__: OrderedDict}\n"
    ).loader
    assert loader is not None
    assert "running OrderedDict of module collections" in caplog.text
    assert loader({"a": b"1"}) == {"a": b"1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_loader: /tmp/x.py:f\n", "names no function"),
        ("sample_loader: ../x.py:f\n", "names no function"),
        ("sample_loader: x.sh:f\n", "names no function"),
        ("sample_loader: 3\n", "names no function"),
        ("sample_loader: 'sample_loader.py:a b'\n", "names no function"),
        ("sample_loader: {__module__: os, __function__: system, command: ls}\n", "names no function"),
        ("sample_loader: absent.py:f\n", "no such file .*absent.py"),
        ("part_filter: sample_loader.py:part_filter\n", "part_filter: .* is not accepted.*a sample_loader with it"),
        ("sample_loader: sample_loader.py\nfield_map: {image: mp4}\n", "sample_loader or field_map, not both"),
        ("sample_loader: sample_loader.py\ncooker: x.py\n", "cooker: 'x.py' is not accepted"),
        ("sample_loader: sample_loader.py\nsubflavors: {x: {__module__: os}}\n", "subflavors.x"),
    ],
)
def test_what_stays_refused(tmp_path: Path, text: str, message: str) -> None:
    path = folder(tmp_path)
    with pytest.raises(DataError, match=message):
        read(path, CRUDE + text)
    assert not (tmp_path / "ran").exists()


def test_other_modules_stay_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="__module__: 'os' is not accepted"):
        read(folder(tmp_path), CRUDE.replace("megatron.energon", "os") + "sample_loader: sample_loader.py\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('at import')", "cannot be imported: .*at import"),
        ("sample_loader = 3", "expected a function, got int"),
        ("other = len", "cannot be imported: .*sample_loader"),
    ],
)
def test_code_that_cannot_be_imported(tmp_path: Path, code: str, message: str) -> None:
    path = folder(tmp_path, code)
    with pytest.raises(UserError, match=message):
        import_function(parse_function(path, "sample_loader", "sample_loader.py"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(raw): return raw['absent']", r"f of .*sample_loader.py failed: .*absent"),
        ("def f(raw): return [1]", "returned list"),
        ("def f(raw): return {1: 2}", "returned dict"),
    ],
)
def test_functions_that_fail_are_named(tmp_path: Path, code: str, message: str) -> None:
    loader = SampleLoader(UserFunction(folder(tmp_path, code), "sample_loader.py", "f"))
    with pytest.raises(DataError, match=message):
        loader({"text": b""})
