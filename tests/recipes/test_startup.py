"""Help, dry runs and wrong options of every recipe answer without importing torch or NeMo, which takes seconds."""

import subprocess
import sys

from cosmos_lidar.recipes.registry import family_names

ANSWERS = """
import sys
from cosmos_lidar.recipes.registry import family_names, find_family

for name in family_names():
    family = find_family(name)
    for words in (["--dryrun"], ["trainer.precision=fp16"], ["trainer.max_steps=0"], ["recipe=none"], ["unknown=1"]):
        status = family.main([*words, "data.path=nowhere"])
        assert status == (0 if words == ["--dryrun"] else 2), (name, words, status)
    try:
        family.main(["--help"])
    except SystemExit as end:
        assert end.code == 0
    print(name, *sorted({"torch", "nemo", "lightning", "megatron", "scipy", "av"} & set(sys.modules)), file=sys.stderr)
"""


def test_help_dryrun_and_wrong_options_import_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", ANSWERS], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if not line.startswith("-c: ")]
    assert said == family_names(), done.stderr
    texts = [done.stdout.count("family: "), done.stdout.count("Refused: ")]  # a dry run and a help text of each
    assert texts == [len(said)] * 2
