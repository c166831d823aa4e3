"""Model family: the recipes (configurations) of one kind of network and the module that builds its training jobs.

A recipe file defines one, ``FAMILY``, and every program that starts, examines or reads a run works through it: the
recipe file itself, ``cosmos-lidar train``, ``doctor``, ``replay`` and ``export``.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.command_line import choose, run_program
from cosmos_lidar.training.config import AnyConfig
from cosmos_lidar.training.data_facts import fill_in
from cosmos_lidar.training.overrides import load_config

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import Tensor, nn

    from cosmos_lidar.training.engine import DataShare, Job, RunResult
    from cosmos_lidar.training.model import TrainedModel

ConfigT = TypeVar("ConfigT", bound=AnyConfig)


@dataclass(frozen=True)
class Family(Generic[ConfigT]):
    """One kind of model: its configurations and its job module.

    Attributes:
        name: of the recipe file, and value of ``family`` in every configuration.
        recipes: functions that return a configuration, by variant; the first one is the default.
        config: type of the configurations; its ``check()`` refuses options that cannot work together.
        job: dotted name of the module that builds a training job, imported when it is needed: it has
            ``make_job(run, folder, share)``, ``make_dry_model(run)`` and ``export_weights(weights, average, folder,
            step)``, as in :mod:`cosmos_lidar.families.dit.job`.
        aliases: further option names, as published command lines have them -> ours.
    """

    name: str
    recipes: Mapping[str, Callable[[], ConfigT]]
    config: type[ConfigT]
    job: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    def choose(self, argv: list[str], look_at_data: bool = True) -> tuple[ConfigT, argparse.Namespace]:
        """Return the configuration of a command line, and its flags.

        Args:
            argv: the command line, without the program.
            look_at_data: fill in what the data determines (see :meth:`resolve`), where it is on this machine.

        Raises:
            UserError: an unknown variant or option, a value of the wrong type, or one that contradicts the data.
        """
        run, args = choose(argv, self.recipes, self.aliases)
        return (self.resolve(run, args.given) if look_at_data else run), args

    def resolve(self, run: ConfigT, given: Collection[str] = ()) -> ConfigT:
        """Return the configuration with the options that its data determines, such as the shape of its latents.

        Args:
            run: the configuration; values that its recipe does not have were chosen by somebody.
            given: options that were named on the command line.

        Raises:
            UserError: a chosen value contradicts the data.
        """
        recipe = self.recipes.get(run.recipe, self.config)
        try:
            facts = run.data_facts()
        except DataError:  # not on this machine, or unreadable: opening it raises with the file's name
            return run
        return fill_in(run, facts, recipe(), given)

    def load(self, path: Path) -> ConfigT:
        """Return the configuration in the file ``path``, the ``config.yaml`` of a run.

        Raises:
            DataError: the file is missing or no YAML mapping.
            UserError: a key does not exist or has a value of another type.
        """
        return load_config(self.config, path, self.aliases)

    def check(self, run: ConfigT) -> None:
        """Refuse options that cannot work together.

        Raises:
            UserError: the message names the options and valid values.
        """
        run.check()

    def make_job(self, run: ConfigT, folder: Path, share: DataShare) -> Job:
        """Return network, data and exports of a run.

        Args:
            run: the configuration.
            folder: of the run.
            share: the part of the data that this rank reads.
        """
        return self._module().make_job(run, folder, share)

    def make_network(self, run: ConfigT) -> nn.Module:
        """Return the network with the weights that a run starts from, whole, on the CPU."""
        import torch

        torch.manual_seed(run.trainer.seed)
        return self._module().make_network(run)

    def make_dry_model(self, run: ConfigT) -> TrainedModel:
        """Return the model of a run without weights and without reading data, for predictions."""
        return self._module().make_dry_model(run)

    def export_weights(
        self, weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int
    ) -> list[Path]:
        """Write the weights of a checkpoint as files for other programs; returns the files.

        Args:
            weights: all of them by name, unsharded, on the CPU.
            average: the EMA of those that have one; empty without EMA.
            folder: for the files.
            step: of the training.
        """
        return self._module().export_weights(weights, average, folder, step)

    def train(self, run: ConfigT, watchers: Sequence[Callback] = ()) -> RunResult:
        """Train, or resume training, as configured by ``run``; every rank calls this.

        Args:
            run: the configuration.
            watchers: further callbacks of Lightning's Trainer, called last.

        Raises:
            UserError: an impossible option, unusable data or weights, or a loss that is not finite.
        """
        run = self.resolve(run)
        self.check(run)
        from cosmos_lidar.training.engine import Session

        with Session(run) as session:
            if session.finished:
                return session.result()
            job = self.make_job(session.run, session.folder, session.share)
            return session.fit(job, watchers)

    def main(self, argv: list[str] | None = None) -> int:
        """Run the recipe file as a program; returns its exit status (see :func:`run_program`)."""
        return run_program(self.choose, self.train, argv)

    def _module(self) -> Any:
        return importlib.import_module(self.job)
