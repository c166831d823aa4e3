import subprocess

import pytest

from cosmos_lidar import commands
from cosmos_lidar.cli import find_commands, main


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Return a function that writes the completion script of a shell and returns its path."""

    def write(shell):
        path = tmp_path_factory.mktemp("completion") / shell
        with pytest.MonkeyPatch.context() as patch, path.open("w") as stream:
            patch.setattr("sys.stdout", stream)
            assert main(["completion", shell]) == 0
        return path

    return write


def complete(script, line):
    """Return what bash offers for the last word of a line."""
    words = line.split(" ")
    code = (
        f"source {script}; COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; "
        f'COMP_LINE="{line}"; "$(complete -p cosmos-lidar | sed -E \'s/.*-F ([^ ]+).*/\\1/\')" '
        f'cosmos-lidar "{words[-1]}" "{words[-2]}"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())


def test_bash_completes_commands_options_choices_and_recipes(script):
    path = script("bash")
    assert complete(path, "cosmos-lidar generate") == ["generate-lidar", "generate-views"]
    assert {"train", "tokenize"} <= set(complete(path, "cosmos-lidar t"))
    assert "--checkpoint" in complete(path, "cosmos-lidar evaluate --che")
    assert complete(path, "cosmos-lidar evaluate --baseline re") == ["resize"]
    assert "lidar_tokenizer" in complete(path, "cosmos-lidar train lidar_")


def test_a_command_that_is_one_more_file_is_completed(script, tmp_path, monkeypatch):
    source = 'HELP = "count the clouds"\nEXAMPLE = "cosmos-lidar count-clouds sky"\n\n\n'
    source += 'def add_arguments(parser):\n    parser.add_argument("--color", choices=("red", "blue"))\n\n\n'
    (tmp_path / "count_clouds.py").write_text(source + "def run(args):\n    return 0\n")
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    path = script("bash")
    assert complete(path, "cosmos-lidar count") == ["count-clouds"]
    assert complete(path, "cosmos-lidar count-clouds --co") == ["--color"]
    assert complete(path, "cosmos-lidar count-clouds --color b") == ["blue"]
    for shell in ("zsh", "fish"):
        assert "count-clouds" in script(shell).read_text()


def test_bash_completes_file_names(script, tmp_path, monkeypatch):
    path = script("bash")
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    assert complete(path, "cosmos-lidar convert wei") == ["weights.safetensors"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_list_every_command(script, shell):
    text = script(shell).read_text()
    for name in find_commands():
        assert name in text


def test_places_to_write_to_are_completed(script, tmp_path, monkeypatch):
    path = script("bash")
    (tmp_path / "backbone.pth").touch()
    (tmp_path / "backbones").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "backbone.pth" in complete(path, "cosmos-lidar convert-backbone x --out back")
    assert [name.rstrip("/") for name in complete(path, "cosmos-lidar demo --out back")] == ["backbones"]
