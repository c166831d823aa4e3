import shlex
import subprocess
import sys

import pytest

from cosmos_lidar import cli, commands
from cosmos_lidar.cli import GROUPS, build_parser, find_commands, group_commands, main

COMMAND = """
HELP = "count the stars"
EXAMPLE = "cosmos-lidar count-stars sky"


def add_arguments(parser):
    parser.add_argument("sky")


def run(args):
    return len(args.sky)
"""


def test_every_command_of_this_project_has_a_group():
    for name, module in find_commands().items():
        assert module.GROUP in GROUPS, name


def test_help_lists_each_command_once_under_its_group():
    text = build_parser().format_help()
    at = [text.index(f"\n{title}:") for title in GROUPS.values()]
    assert at == sorted(at)
    for name, module in find_commands().items():
        assert text.count(f"\n  {name} ") == 1, name
        number = list(GROUPS).index(module.GROUP)
        end = at[number + 1] if number + 1 < len(at) else len(text)
        assert at[number] < text.index(f"\n  {name} ") < end, name


def test_a_command_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "count_stars.py").write_text(COMMAND)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert "count-stars" in group_commands(find_commands())["other"]
    assert "count the stars" in build_parser().format_help()
    assert main(["count-stars", "four"]) == 4


@pytest.mark.parametrize(
    ("given", "hint"),
    [("checck", "did you mean check?"), ("latents_stats", "latents-stats?"), ("xyzzy", "valid: autoencode, check")],
)
def test_an_unknown_command_names_the_nearest(given, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        main([given])
    assert ended.value.code == 2
    assert f"unknown command '{given}'; " in (shown := capsys.readouterr().err)
    assert hint in shown


def test_help_imports_neither_torch_nor_nemo():
    """Counts modules, not seconds: the machine may be busy."""
    code = "import sys; from cosmos_lidar.cli import main; sys.argv = ['x', '--help']\ntry: main()\nexcept SystemExit: "
    code += "print('loaded', len(sys.modules), *sorted({'torch', 'nemo', 'numpy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    _, count, *heavy = done.stdout.splitlines()[-1].split()
    assert int(count) < 500
    assert heavy == []


def test_every_command_has_help_with_an_example():
    parser = build_parser()
    for name, module in find_commands().items():
        assert module.EXAMPLE.startswith(f"cosmos-lidar {name}")
        arguments = shlex.split(module.EXAMPLE)[1:]
        assert parser.parse_args(arguments).command == name


def test_unknown_command_and_wrong_input_exit_with_2():
    run = [sys.executable, "-m", "cosmos_lidar.cli"]
    assert subprocess.run([*run, "fly"], capture_output=True).returncode == 2
    done = subprocess.run([*run, "inspect", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_that_takes_no_files_and_memory_that_ends_are_told_in_a_line(tmp_path, capsys, monkeypatch):
    out = tmp_path / "file" / "below"
    out.parent.write_text("")
    with pytest.raises(SystemExit, match="2"):
        main(["synth", str(out), "--drives", "1", "--frames", "1", "--sensor", "uniform64"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cosmos-lidar synth: argument OUT: {out}: {out.parent} is a file: expected a folder")

    def unwritable(args: object) -> None:
        raise NotADirectoryError(20, "Not a directory", str(out))

    monkeypatch.setattr("cosmos_lidar.commands.completion.run", unwritable)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err == f"cosmos-lidar completion: {out}: Not a directory\n"
    monkeypatch.setattr("cosmos_lidar.commands.completion.run", lambda args: bytearray(2**62))
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err.startswith("cosmos-lidar completion: out of memory (no message): less at once")


def test_ctrl_c_before_the_command_is_known_has_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert cli.main(["evaluate"]) == 130
    assert capsys.readouterr().err == "cosmos-lidar: interrupted; finished results are kept\n"
