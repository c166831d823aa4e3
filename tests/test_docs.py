import re
import shlex
from pathlib import Path

import pytest

from cosmos_lidar.cli import build_parser, find_commands

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_of(text: str) -> str:
    blocks, words = re.findall(r"```[a-z]*\n(.*?)```", text, re.S), re.findall(r"`([^`\n]+)`", text)
    return "\n".join(blocks + words)


def commands_of(page: Path) -> list[str]:
    found = re.findall(r"^\s*(cosmos-lidar [a-z][^#|\n]*)", code_of(page.read_text(encoding="utf-8")), re.M)
    return [command.strip() for command in found if "COMMAND" not in command]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_are_understood(page):
    parser = build_parser()
    for command in commands_of(page):
        arguments = shlex.split(command.replace("…", "X"))[1:]
        if len(arguments) > 1 or arguments[0] not in find_commands():
            parser.parse_args(arguments)  # exits on an unknown command or option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_readme_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z-]+)", code_of((ROOT / "README.md").read_text(encoding="utf-8"))):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_readme_python_runs(tmp_path, monkeypatch):
    from cosmos_lidar.clips.writers.release import write_release
    from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit
    from cosmos_lidar.sensors import load_sensor
    from cosmos_lidar.synth import synthesize_drive

    write_release(tmp_path / "path" / "to" / "recordings", synthesize_drive(0, load_sensor("uniform64"), 1))
    folder = tmp_path / "checkpoints" / "Cosmos-Tokenizer-CI8x8-Lidar"
    encoder, decoder, _ = export_jit(build_tokenizer("CI8x8", channels=32, num_res_blocks=1), folder, "x")
    encoder.rename(folder / "encoder.jit")
    decoder.rename(folder / "decoder.jit")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    names: dict = {}
    exec(code, names)
    assert names["points"].shape[1] == 3
    assert names["tokenizer"].config.family == "CI"


def test_documented_options_exist():
    from cosmos_lidar.recipes.registry import family_names, find_family
    from cosmos_lidar.training.option_names import translate
    from cosmos_lidar.training.overrides import describe

    families = [find_family(name) for name in family_names()]
    known = {key for family in families for make in family.recipes.values() for key, *_ in describe(make())}
    aliases = {name: key for family in families for name, key in family.aliases.items()}
    tops = "|".join(sorted({key.partition(".")[0] for key in known if "." in key}))
    for page in PAGES:
        for option in re.findall(rf"(?<![\w.])((?:{tops})\.[\w.]+=)", code_of(page.read_text(encoding="utf-8"))):
            assert translate(option, aliases).rstrip("=") in known, f"{page.name}: {option}"


def test_documented_files_exist():
    tops = "cosmos_lidar|energon_tasks|recipes|launch|docker|benchmarks|docs|tests"
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for path in re.findall(rf"`((?:{tops})/[\w./-]+)`", page.read_text(encoding="utf-8")):
            if "NAME" not in path:
                assert (ROOT / path).exists(), f"{page.name}: {path}"
