"""Embedded base models: small pretrained checkpoints that are installed with the package, found without a network.

Each folder below this one is a model: ``model.safetensors``, ``config.json`` and the model card ``README.md``.

``config.json`` holds ``family`` (folder of ``cosmos_lidar/families``), ``dtype`` of the stored weights and ``license``;
where the network is not inferred from its weights, ``run``: options of the training run, as in its ``config.yaml``.

``small`` as the value of an option means the model of the option's kind: ``--checkpoint small`` of ``autoencode`` is
``small-lidar-tokenizer``. A file or folder of that name in the current folder comes first.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_json_object

FOLDER = Path(__file__).parent
FILE, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
SHORT, PREFIX = "small", "cosmos_lidar/"
_WANTED = 'an object with "family", "dtype" and "license", each a text'


def names() -> list[str]:
    """Return the names of the embedded models, such as ``small-lidar-tokenizer``."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}"))


def find(name: str) -> Path:
    """Return the folder of an embedded model.

    Args:
        name: ``small-lidar-tokenizer`` or ``cosmos_lidar/small-lidar-tokenizer``.

    Raises:
        UserError: there is no such model.
    """
    short, known = name.removeprefix(PREFIX), names()
    if short not in known:
        raise UserError(f"no embedded model {name!r}; valid: {', '.join(known) or 'none is installed'}")
    return FOLDER / short


def is_embedded(name: str | Path) -> bool:
    """Return whether a text has the form ``cosmos_lidar/NAME``, and is no file or folder."""
    text = str(name)
    return text.startswith(PREFIX) and "/" not in text.removeprefix(PREFIX) and not Path(text).exists()


def file_of(given: str, name: str) -> str:
    """Return the weights file that the value of an option means.

    Args:
        given: ``small``, ``cosmos_lidar/NAME``, a folder of ``cosmos-lidar push``, or anything else, which is
            returned as it is.
        name: embedded model that ``small`` means.

    Raises:
        UserError: there is no such embedded model, or neither a file nor a model, but nearly the name of one.
    """
    path = Path(given)
    if not given or path.exists():
        own = given and (path / FILE).is_file() and (path / CONFIG).is_file()
        return str(path / FILE) if own else given
    if given == SHORT:
        return str(find(name) / FILE)
    if is_embedded(given):
        return str(find(given) / FILE)
    known = {SHORT: SHORT, **{key: f"{PREFIX}{one}" for one in names() for key in (one, f"{PREFIX}{one}")}}
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.85)
    if near:
        raise UserError(f"no such file {given!r}; did you mean {known[near[0]]}, an embedded model?")
    return given


def name_of(checkpoint: Path) -> str:
    """Return the name of a model for its readers: of a folder's ``model.safetensors`` that of the folder."""
    return checkpoint.resolve().parent.name if checkpoint.name == FILE else checkpoint.name


def config_of(checkpoint: str | Path) -> dict[str, Any]:
    """Return the ``config.json`` in a model's folder, or beside a file of weights; empty where there is none.

    Raises:
        DataError: no JSON object, or one without the keys that every model has.
    """
    path = Path(checkpoint)
    file = (path if path.is_dir() else path.parent) / CONFIG
    if not file.is_file():
        return {}
    found = read_json_object(file, "a text file", _WANTED)
    for key in ("family", "dtype", "license"):
        if not isinstance(found.get(key), str):
            raise DataError(f"{found.get(key)!r}", file=file, key=key, wanted=_WANTED)
    return found
