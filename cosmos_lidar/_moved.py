"""Earlier names of modules (deprecated import paths): each gives what it held, with a DeprecationWarning.

``import cosmos_lidar`` adds a finder for them behind Python's own: it is only asked for modules that are not there.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

# Earlier name -> today's, or those that its content was split among; without "cosmos_lidar.".
_MOVED = {
    "clips.kitti_files": "clips.readers.kitti.files",
    "clips.nuscenes_infos": "clips.readers.nuscenes.infos",
    "clips.release_cameras": "clips.readers.release.cameras",
    "inference.arguments": "commands._arguments",
    "inference.autoencode": "families.lidar_tokenizer.autoencode",
    "inference.evaluate": "families.lidar_tokenizer.evaluate",
    "inference.histogram": "families.lidar_tokenizer.histogram",
    "inference.latent_cache": "latents.cache",
    "inference.latent_files": "families.video_tokenizer.latent_files",
    "inference.latent_stats": "latents.statistics",
    "inference.lidargen_encode": "families.lidargen.encode latents.space",
    "inference.lidargen_frames": "families.lidargen.inputs",
    "inference.lidargen_rays": "families.lidargen.rays",
    "inference.lidargen_results": "families.lidargen.outputs",
    "inference.lidargen_sample": "families.lidargen.generator",
    "inference.lidargen_views": "families.lidargen.views sensors.range_image",
    "inference.merge": "families.lidar_tokenizer.merge",
    "inference.outputs": "families.lidar_tokenizer.outputs files",
    "inference.score": "families.lidar_tokenizer.score",
    "inference.setup": "commands._tokenizer_setup",
    "inference.shards": "shards.clips",
    "inference.shared_work": "parallel.work_sharing",
    "inference.video_codec": "families.video_tokenizer.codec",
    "inference.video_files": "families.video_tokenizer.files clips.footage",
    "inference.video_setup": "commands._codec_setup",
    "losses.weight_files": "models.pretrained",
    "models.lidargen.canvas": "families.lidargen.canvas",
    "models.lidargen.denoiser": "families.lidargen.denoiser",
    "models.tokenizer.tiling": "models.tiling",
    "parallel.strategy": "training.mesh_strategy",
    "shards.folder_lock": "folder_lock",
    "shards.lidargen_latents": "shards.latents",
    "shards.sample": "shards.sweeps",
    "shards.source_state": "clips.source_state",
    "training.adversary": "families.video_tokenizer.discriminator",
    "training.checkpoint_manifest": "training.checkpoint.manifest",
    "training.checkpoint_reading": "training.checkpoint.reading",
    "training.checkpoint_store": "training.checkpoint.store",
    "training.checkpoints": "training.checkpoint.callback",
    "training.dit": "families.dit.model",
    "training.dit_config": "families.dit.config",
    "training.dit_export": "families.dit.export",
    "training.dit_run": "families.dit.job",
    "training.doctor": "training.preflight.doctor",
    "training.export": "families.export models.tokenizer.export",
    "training.families": "recipes.registry",
    "training.files": "files",
    "training.flops": "training.measure.flops",
    "training.full_weights": "training.checkpoint.full_tensors",
    "training.hangs": "training.guards.hangs",
    "training.lidar_tokenizer": "families.lidar_tokenizer.model",
    "training.lidargen": "families.lidargen.model",
    "training.lidargen_config": "families.lidargen.config",
    "training.lidargen_frames": "families.lidargen.online_encoder",
    "training.lidargen_run": "families.lidargen.job",
    "training.made_once": "parallel.made_once",
    "training.memory": "training.measure.memory",
    "training.prediction": "training.preflight.prediction",
    "training.ranks": "parallel.ranks",
    "training.replay": "training.preflight.replay",
    "training.spikes": "training.guards.loss_spikes",
    "training.state_tree": "training.checkpoint.state_tree",
    "training.step_clock": "training.measure.step_clock",
    "training.stop_signals": "training.guards.stop_signals",
    "training.tokenizer_config": "families.lidar_tokenizer.config",
    "training.tokenizer_data": "families.lidar_tokenizer.data",
    "training.tokenizer_run": "families.lidar_tokenizer.job",
    "training.video_config": "families.video_tokenizer.config",
    "training.video_run": "families.video_tokenizer.job",
    "training.video_tokenizer": "families.video_tokenizer.model",
    "training.votes": "training.guards.step_flags",  # codespell:ignore votes
    "sensors.range_picture": "sensors.range_image",
    "viz.lidargen_picture": "families.lidargen.figure",
    "viz.pictures": "viz.images",
    "viz.whole_file": "files",
    "energon_tasks.image_to_lidar": "energon_tasks.views",
    "energon_tasks.lidar": "energon_tasks.sweeps",
    "energon_tasks.video": "energon_tasks.videos",
}
_PACKAGES = ("inference", "models.lidargen")  # whose modules have all moved


def moved_to(name: str) -> list[str]:
    """Return the modules that hold the content of an earlier module ``name`` now; empty where it never was one."""
    targets = _MOVED.get(name.removeprefix("cosmos_lidar."), "").split()
    return [target if target.startswith("energon_tasks.") else f"cosmos_lidar.{target}" for target in targets]


class MovedModules:
    """Finder (PEP 451) and loader of earlier modules; an entry of ``sys.meta_path``."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of an earlier module or package; None for all others."""
        if name.startswith("cosmos_lidar.") and name.removeprefix("cosmos_lidar.") in _PACKAGES:
            return ModuleSpec(name, MovedModules, is_package=True)
        return ModuleSpec(name, MovedModules) if moved_to(name) else None

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leave it to Python to make an empty module."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put today's module in the place of the earlier one, or one that looks names up in several."""
        from importlib import import_module
        from warnings import warn

        name = module.__name__
        targets = moved_to(name)
        if not targets:  # a package without content of its own
            return
        warn(f"{name} is now {' and '.join(targets)}", DeprecationWarning, stacklevel=2)
        found = [import_module(target) for target in targets]
        if len(found) == 1:
            sys.modules[name] = found[0]
            return

        def look_up(attribute: str) -> object:
            for one in found:
                if hasattr(one, attribute):
                    return getattr(one, attribute)
            raise AttributeError(f"{attribute} is neither in {' nor in '.join(targets)}, which replace {name}")

        module.__getattr__ = look_up  # type: ignore[method-assign]


sys.meta_path.append(MovedModules)  # type: ignore[arg-type]
