"""Every command line of README and docs runs as it stands, on small stand-ins for the files that it names."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.bounds import ENVIRONMENT
from cosmos_lidar.cli import main
from cosmos_lidar.recipes.registry import find_family
from tests.docs.stand_ins import make_stand_ins

pytestmark = pytest.mark.slow  # a hundred commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Sizes of what is synthesized or generated: the commands are the page's, the drives are shorter, the lidar smaller.
SHORTER = {"--drives": "2", "--frames": "1", "--width": "160", "--jobs": "1", "--sensor": "small.yaml"}
OUTPUTS = {"prepare": 1, "encode-views": 1, "synth": 0}  # command -> position of the folder that it writes
WRITTEN = ("--out", "--html", "--save_dir", "--output")


def command_lines(page: Path) -> Iterator[str]:
    """Yield the complete command lines of a page: blocks and inline code, with continued lines joined."""
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"```[a-z]*\n(.*?)```", text, re.S), *re.findall(r"`([^`\n]+)`", text)])
    for line in re.sub(r"\s*\\\n\s*", " ", code).splitlines():
        line = re.sub(r"\s+#.*|\s*>.*", "", line.strip())
        if re.match(
            r"cosmos-lidar [a-z-]+ \S|(torchrun|python|sbatch)\b.*\brecipes[/.]\w+|sbatch .*lidar_tokenizer", line
        ):
            if not re.search(r"cosmos1/|\[|RECIPE|NAME|nemo_run|my_recipe|…\)|\brecipes/…", line) and not line.endswith(
                " …"
            ):
                yield line


LINES = sorted({line for page in PAGES for line in command_lines(page)})


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every file that the documentation names."""
    folder = tmp_path_factory.mktemp("stand_ins")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_stand_ins(folder)
    return folder


def filled_in(line: str) -> list[str]:
    """Return the words of a line, with names in the place of ``…`` and drives that are short."""
    words = line.replace("iter_N", "iter_000000030").replace("$DATA", "shards").replace("$CKPT_PTH", "CKPT").split()
    words = shlex.split(" ".join(words))
    video = {"tokenize", "reconstruct"} & set(words[:2])
    meant = {
        "--checkpoint": "CKPT" if video else "model.pt" if "generate-lidar" in words else "checkpoints/lidar",
        "--lidar-tokenizer": "lidar.pt", "--image-tokenizer": "video.pt", "--enc_path": "encoder.jit",
        "--dec_path": "decoder.jit", "--data": "drives", "--format": "release",
    }  # fmt: skip
    before = ["", *words]
    words = [meant.get(last, "") if word == "…" else word for last, word in zip(before, words, strict=False)]
    words = [word.replace("model.checkpoint=…", "model.checkpoint=checkpoints/lidar") for word in words]
    words = [
        word.replace("model.jit_ckpt_pth=…", "model.jit_ckpt_pth=CKPT").replace("data.path=…", "data.path=shards")
        for word in words
    ]
    words = ["X.tar" if word.endswith("/CLIP.tar") else word for word in words]
    if {"synth", "generate-lidar"} & set(words):
        words = [SHORTER.get(last, word) for last, word in zip(["", *words], words, strict=False)]
    return words


def written_by(words: list[str]) -> list[str]:
    """Return the names that a command writes, which must not be there yet."""
    names = [word for last, word in zip(words, words[1:], strict=False) if last in WRITTEN]
    for command in OUTPUTS.keys() & words[1:4]:
        positional = [word for word in words[words.index(command) + 1 :] if not word.startswith("-")]
        names.append(positional[OUTPUTS[command]])
    return names


def lay_out(stand_ins: Path, folder: Path, words: list[str]) -> None:
    """Link the stand-ins into ``folder``, without what the command writes."""
    out = written_by(words)
    for path in stand_ins.iterdir():
        if path.name not in out:
            (folder / path.name).symlink_to(path)
    if "kitti" in words:
        (folder / "drives").unlink()
        (folder / "drives").symlink_to(stand_ins / "kitti_drives")
    for recipe, shards in (("video_tokenizer", "video_shards"), ("also_", "points_shards")):
        if any(recipe in word for word in words):
            (folder / "shards").unlink()
            (folder / "shards").symlink_to(stand_ins / shards)


def test_there_are_lines() -> None:
    assert len(LINES) > 60
    assert any(line.startswith("cosmos-lidar doctor dit recipe=faditv2_7b") for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_line(
    line: str,
    stand_ins: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = filled_in(line)
    lay_out(stand_ins, tmp_path, words)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, "1GB")  # some lines raise it
    monkeypatch.setattr("sys.stdin", io.StringIO())  # NeMo-Run reads it
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(run(words))
    fine = (0, 1) if words[1] == "doctor" else (0,)  # 1: the machine of the tests is too small
    said = capfd.readouterr()
    assert ended.value.code in fine, f"{line}\n{shlex.join(words)}\n{said.err[-2000:]}"


def run(words: list[str]) -> int:
    """Run a command line in this process; training stops where ``--dryrun`` does."""
    if words[0] == "cosmos-lidar" and words[1] != "train":
        return main(words[1:])
    at = next(n for n, word in enumerate(words) if re.search(r"recipes[/.]\w+|^lidar_tokenizer$|^dit$", word))
    name = re.search(r"(\w+?)(\.py)?$", words[at])[1]
    options = [option.replace("/data/", "") for option in words[at + 1 :]]
    return find_family(name).main([*options, *(["--dryrun"] if "--help" not in options else [])])
