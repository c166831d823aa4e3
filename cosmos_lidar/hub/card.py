"""Model cards: the README.md of a repository of the Hub, with what was measured and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from cosmos_lidar.hub.results import Results
from cosmos_lidar.runs.reading import printable

_LONGEST_PROTOCOL = 20_000  # characters
_WHAT = {
    "lidar_tokenizer": ("Tokenizer of lidar range maps", ["lidar", "tokenizer"]),
    "video_tokenizer": ("Tokenizer of images or videos", ["video", "tokenizer"]),
    "dit": ("Diffusion transformer", ["diffusion", "video"]),
    "lidargen": ("Diffusion from camera images to lidar sweeps", ["lidar", "diffusion"]),
    "multiview": ("Diffusion of videos of several cameras", ["diffusion", "video", "multi-view"]),
    "also": ("Sparse backbone of lidar points", ["lidar", "point-cloud", "self-supervised"]),
}
_COMMANDS = {
    "lidar_tokenizer": "cosmos-lidar autoencode --sample_path drives --checkpoint {name}",
    "video_tokenizer": "cosmos-lidar tokenize videos --checkpoint {name} --out latents",
}


@dataclass(frozen=True)
class CardFacts:
    """What a card states.

    Attributes:
        name: of the repository.
        family: of :data:`cosmos_lidar.hub.opening.FAMILIES`.
        network: class of the network.
        parameters: number of them.
        dtype: of the stored weights.
        license: identifier.
        options: of the training run.
        start: what training started from; empty if unknown.
        step: of the training.
        results: of evaluations.
        preview: file name of the picture; empty without one.
        summary: the user's own words.
    """

    name: str
    family: str
    network: str
    parameters: int
    dtype: str
    license: str
    options: Mapping[str, Any] = field(default_factory=dict)
    start: str = ""
    step: int = 0
    results: Sequence[Results] = ()
    preview: str = ""
    summary: str = ""


def make_card(facts: CardFacts) -> str:
    """Return the Markdown of a card, with the metadata that the Hub reads before it."""
    what, tags = _WHAT[facts.family]
    short = facts.name.rpartition("/")[2]
    metadata: dict[str, Any] = {"license": facts.license, "library_name": "cosmos_lidar"}
    metadata["tags"] = ["autonomous-driving", *tags]
    if facts.results:
        metadata["model-index"] = [{"name": short, "results": [_indexed(facts.family, one) for one in facts.results]}]
    size = f"{facts.parameters:,} parameters, stored in {facts.dtype}"
    parts = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n",
        f"# {short}\n",
        f"{what} (`{facts.network}`): {size}.\n",
        f"{facts.summary}\n" if facts.summary else "",
        f"![Samples]({facts.preview})\n" if facts.preview else "",
        _use(facts),
        _training(facts),
        "## Metrics\n",
        *(_table(one) for one in facts.results),
        "" if facts.results else "None were given.\n",
        f"## License\n\n{facts.license}\n",
    ]
    return "\n".join(part for part in parts if part)


def _use(facts: CardFacts) -> str:
    python = "from cosmos_lidar.hub import from_pretrained\n\n"
    python += f'network = from_pretrained("{facts.name}", family="{facts.family}")'
    command = _COMMANDS.get(facts.family)
    shell = f"\n```\n{command.format(name=facts.name)}\n```\n" if command else ""
    return f"## Use\n\n```python\n{python}\n```\n{shell}"


def _training(facts: CardFacts) -> str:
    if not facts.options:
        return ""
    trainer = facts.options.get("trainer")
    seed = trainer.get("seed") if isinstance(trainer, dict) else None
    rows = {
        "recipe": f"{facts.options.get('family', '')} {facts.options.get('recipe', '')}".strip(),
        "steps": facts.step or None,
        "seed": seed,
        "started from": facts.start,
    }
    lines = "".join(f"| {name} | {_cell(value)} |\n" for name, value in rows.items() if value not in (None, ""))
    return f"## Training\n\n| | |\n|---|---|\n{lines}\nAll options are in `config.json`, under `run`.\n"


def _table(results: Results) -> str:
    title = f"{_cell(results.name)}" + (f", on {_cell(results.data)}" if results.data else "")
    rows = "".join(
        f"| {_cell(number.name)} | {number.value:.6g} | {_interval(number.low, number.high)} |\n"
        for number in results.numbers
    )
    protocol = json.dumps(results.protocol, indent=1, ensure_ascii=True).replace("```", "'''")
    cut = "\n…" if len(protocol) > _LONGEST_PROTOCOL else ""
    return (
        f"### {title}\n\n| metric | value | 95 % interval |\n|---|--:|---|\n{rows}\n"
        f"<details><summary>Protocol</summary>\n\n```json\n{protocol[:_LONGEST_PROTOCOL]}{cut}\n```\n\n</details>\n"
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.6g} to {high:.6g}"


def _indexed(family: str, results: Results) -> dict[str, Any]:
    """Return an entry of the metadata ``model-index``."""
    name = results.data or "recordings"
    metrics = [{"type": number.name, "value": number.value, "name": number.name} for number in results.numbers]
    return {"task": {"type": family.replace("_", "-")}, "dataset": {"name": name, "type": name}, "metrics": metrics}


def _cell(value: object) -> str:
    """Return text for a cell of a table: one line, nothing that Markdown or HTML take for their own."""
    text = printable(str(value).replace("\n", " "))
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;")):
        text = text.replace(sign, entity)
    return text
