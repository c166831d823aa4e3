from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.data_facts import DataFact, fill_in


@dataclass
class Data:
    shape: list[int] = field(default_factory=lambda: [1, 2])
    width: int = 8


@dataclass
class Whole:
    data: Data = field(default_factory=Data)


FACTS = {
    "data.shape": DataFact([3, 4], Path("latents/latents.json")),
    "data.width": DataFact(6, Path("shards"), at_most=True),
}


def test_defaults_of_a_recipe_give_way_to_the_data():
    run = Whole()
    found = fill_in(run, FACTS, Whole())
    assert found == Whole(Data([3, 4], 6))
    assert run == Whole()
    assert fill_in(found, FACTS, Whole()) == found


def test_values_that_agree_stay():
    assert fill_in(Whole(Data([3, 4], 5)), FACTS, Whole(), given={"data.shape"}) == Whole(Data([3, 4], 5))


@pytest.mark.parametrize(
    ("data", "given", "said"),
    [
        (Data([9, 9]), (), "data.shape=[9,9] contradicts the data, which has [3,4] (latents/latents.json): leave"),
        (Data(), ("data.shape",), "data.shape=[1,2] contradicts the data, which has [3,4] (latents/latents.json)"),
        (Data([3, 4], 7), (), "data.width=7 contradicts the data, which has at most 6 (shards)"),
    ],
)
def test_chosen_values_that_contradict_are_refused_by_name(data, given, said):
    with pytest.raises(UserError) as error:
        fill_in(Whole(data), FACTS, Whole(), given)
    assert said in str(error.value)


def test_without_a_recipe_every_value_was_chosen():
    with pytest.raises(UserError, match="data.shape"):
        fill_in(Whole(), FACTS, None)
