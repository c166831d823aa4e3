"""NeMo-Run's own command line for every recipe: factories, options, executors, export to YAML.

``python -m launch.nemo_run_cli --factory "recipe(name=dit,variant=debug)" config.trainer.max_steps=5 --yes``

The configuration is called ``config`` here: NeMo-Run keeps ``run.`` for options of its own, such as ``executor``.
"""

# No ``from __future__ import annotations``: NeMo-Run parses options by annotations, and does not read text ones.
import sys
from typing import Any, get_type_hints

from cosmos_lidar.errors import UserError
from cosmos_lidar.extras import require

from . import factories


def train(config: Any) -> None:
    """Train a resolved configuration on this rank.

    Args:
        config: as ``--factory`` made it, with the options after it.

    Raises:
        UserError: options that cannot work together, or a run that a signal ended.
    """
    factories.train(config)


def recipe(name: str, variant: str = "") -> Any:
    """Return ``run.Partial(train, config=…)`` of a recipe.

    Args:
        name: of the recipe file, or its path.
        variant: ``recipe=`` of that file; its first one by default.

    Raises:
        UserError: no such recipe or variant, or NeMo-Run is not installed.
    """
    nemo_run = require("nemo_run")

    config = factories.configuration(name, variant)
    _resolve_types(config)
    return nemo_run.Partial(train, config=config)


def _resolve_types(config: Any) -> None:
    """Replace text annotations of the configuration's classes by types, by which NeMo-Run parses options."""
    cls = config.__fn_or_cls__
    cls.__init__.__annotations__.update(get_type_hints(cls))
    for value in config.__arguments__.values():
        if hasattr(value, "__fn_or_cls__"):
            _resolve_types(value)


def main() -> None:
    """Run NeMo-Run's command line; the exit status is its own."""
    nemo_run = require("nemo_run")

    # Run as ``__main__``, the functions would be sent to other processes under a name that means nothing there.
    from . import nemo_run_cli

    nemo_run.cli.factory(target=nemo_run_cli.train)(nemo_run_cli.recipe)
    nemo_run.cli.main(nemo_run_cli.train, namespace="cosmos_lidar")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"launch: {error}")
