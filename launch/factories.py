"""NeMo-Run factories: every recipe as a ``run.Partial``, to be changed in Python and started by any executor.

```python
import nemo_run as run
from cosmos_lidar.launch.factories import lidar_tokenizer

partial = lidar_tokenizer("debug")
partial.run.trainer.max_steps = 5
run.run(partial, executor=run.LocalExecutor())
```

``recipe(name, variant)`` does the same for any recipe file. What a job writes is the recipe's run folder, as when the
file is started itself. NeMo-Run's command line takes them as ``cosmos_lidar.launch.factories.NAME``.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.extras import require


def train(run: Any) -> None:
    """Train a resolved configuration on this rank; the target of every factory.

    Args:
        run: the configuration, such as ``recipes.dit.debug()`` returns.

    Raises:
        UserError: options that cannot work together, or a run that a signal ended.
    """
    from cosmos_lidar.recipes.registry import find_family

    result = find_family(run.family).train(run)
    if result.signal:
        raise UserError(f"stopped by signal {result.signal}; the same call resumes")


def recipe(name: str, variant: str = "") -> Any:
    """Return ``run.Partial(train, run=…)`` of a recipe.

    Args:
        name: of the recipe file, or its path.
        variant: ``recipe=`` of that file; its first one by default.

    Raises:
        UserError: no such recipe or variant, or NeMo-Run is not installed.
    """
    nemo_run = require("nemo_run")

    return nemo_run.Partial(train, run=configuration(name, variant))


def configuration(name: str, variant: str = "") -> Any:
    """Return the configuration of a recipe as a tree of ``run.Config``, which can be changed before it is built.

    Args:
        name: of the recipe file, or its path.
        variant: ``recipe=`` of that file; its first one by default.

    Raises:
        UserError: no such recipe or variant.
    """
    from cosmos_lidar.recipes.registry import find_family

    variants = find_family(name).recipes
    chosen = variant or next(iter(variants))
    if chosen not in variants:
        raise UserError(f"{name}: unknown recipe {variant!r}; valid: {', '.join(variants)}")
    return _as_config(variants[chosen]())


def lidar_tokenizer(variant: str = "") -> Any:
    """Return the training of a lidar tokenizer, see :func:`recipe`."""
    return recipe("lidar_tokenizer", variant)


def video_tokenizer(variant: str = "") -> Any:
    """Return the post-training of an image or video tokenizer, see :func:`recipe`."""
    return recipe("video_tokenizer", variant)


def dit(variant: str = "") -> Any:
    """Return the training of a diffusion transformer on latents, see :func:`recipe`."""
    return recipe("dit", variant)


def lidargen(variant: str = "") -> Any:
    """Return the training of camera-to-lidar diffusion, see :func:`recipe`."""
    return recipe("lidargen", variant)


def _as_config(value: Any) -> Any:
    """Return a tree of dataclasses as ``run.Config`` objects, which NeMo-Run can change and send to other machines."""
    import nemo_run

    if not is_dataclass(value):
        return value
    return nemo_run.Config(type(value), **{f.name: _as_config(getattr(value, f.name)) for f in fields(value) if f.init})
