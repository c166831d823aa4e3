import json
from dataclasses import replace

from cosmos_lidar.shards import manifest


def test_a_manifest_is_parsed_once_and_again_when_its_file_changes(tmp_path, monkeypatch):
    parsed = []
    loads = json.loads
    monkeypatch.setattr(manifest.json, "loads", lambda text: parsed.append(text) or loads(text))
    content = manifest.Manifest("print", {"train": ["a"]}, ["s.yaml"], [], 2)
    manifest.write_manifest(tmp_path, content)
    assert [manifest.read_manifest(tmp_path) for _ in range(3)] == [content] * 3
    assert len(parsed) == 1
    manifest.write_manifest(tmp_path, replace(content, splits={"train": ["b", "c"]}))
    assert manifest.read_manifest(tmp_path).splits == {"train": ["b", "c"]}
    assert len(parsed) == 2
