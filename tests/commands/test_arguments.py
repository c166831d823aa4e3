import argparse

import pytest

from cosmos_lidar.commands._arguments import add_data_arguments, add_flag, add_tokenizer_arguments, split_shares


@pytest.mark.parametrize("spelling", ["--some_name", "--some-name", "--other"])
def test_every_spelling_of_an_option_sets_the_same_value(spelling):
    parser = argparse.ArgumentParser()
    add_flag(parser, "some_name", "--other", type=int)
    assert parser.parse_args([spelling, "3"]).some_name == 3


def test_shares_of_a_split_are_numbers():
    assert split_shares("0.9,0.1,0") == (0.9, 0.1, 0.0)


def test_data_options_default_to_all_that_is_there():
    parser = argparse.ArgumentParser()
    add_data_arguments(parser, max_frames=-1)
    args = parser.parse_args(["--clip", "a", "--clip", "b"])
    assert (args.clip, args.max_frames, args.format, args.lidar) == (["a", "b"], -1, None, None)


def test_an_unknown_precision_is_refused(capsys):
    parser = argparse.ArgumentParser()
    add_tokenizer_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--tokenizer-dtype", "int8"])
    assert "'float32', 'bfloat16', 'float16'" in capsys.readouterr().err
