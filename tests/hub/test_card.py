"""Model cards: metadata that the Hub reads, and tables that Markdown keeps together."""

from __future__ import annotations

from typing import Any

import yaml

from cosmos_lidar.hub.card import CardFacts, make_card
from cosmos_lidar.hub.results import Number, Results

FACTS: dict[str, Any] = {
    "name": "org/name", "family": "also", "network": "MinkUNet", "parameters": 1234567, "dtype": "float16",
    "license": "mit",
}  # fmt: skip


def front(card: str) -> dict[str, Any]:
    """Return the metadata before the text."""
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_metadata_and_numbers():
    results = Results("semseg.json", "drives", [Number("miou", 0.512345678, 0.5, 0.52)], {"hash": "ab12"})
    options = {"family": "also_semseg", "recipe": "small", "trainer": {"seed": 5}}
    card = make_card(CardFacts(**FACTS, options=options, start="base.pt", step=300, results=[results]))
    metadata = front(card)
    assert metadata["license"] == "mit"
    (entry,) = metadata["model-index"][0]["results"]
    assert entry["dataset"] == {"name": "drives", "type": "drives"}
    assert entry["metrics"] == [{"type": "miou", "value": 0.512345678, "name": "miou"}]
    assert "1,234,567 parameters, stored in float16" in card
    for row in ("| miou | 0.512346 | 0.5 to 0.52 |", "| steps | 300 |", "| seed | 5 |", "| started from | base.pt |"):
        assert row in card
    assert '"hash": "ab12"' in card
    assert 'from_pretrained("org/name", family="also")' in card


def test_without_training_and_numbers():
    card = make_card(CardFacts(**FACTS))
    assert "model-index" not in front(card)
    assert "## Training" not in card
    assert "None were given." in card


def test_text_of_files_does_not_leave_its_cell():
    results = Results("a|b<script>.json", "", [Number("x\n| y", 1.0)], {"note": "```\n# title"})
    card = make_card(CardFacts(**FACTS, results=[results]))
    assert "<script>" not in card
    assert "| x &#124; y | 1 |" in card
    assert card.count("```") == 4  # two fenced blocks: Python and the protocol
