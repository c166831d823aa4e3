"""Camera-to-lidar diffusion: seconds for a range map on the published canvas, with fewer and fewer evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from lidargen import Shape, WithGuidance
from tokenizer import peak_mib, start_counting_memory
from torch import Tensor, nn

from cosmos_lidar import kernels
from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.samplers import evaluations, solve
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, sample_lidar
from cosmos_lidar.models.dit import build_dit
from gpu_parts.common import Options, Row, attempts, attention_backends, inference_network, seconds_of

PUBLISHED, TINY = "faditv2_7b:64x224:88x160:3", "faditv2_debug:8x16:8x8:1"
FEW = [("ddim", 4), ("dpm++2m", 8), ("2ab", 35)]


def rows(options: Options) -> Iterator[Row]:
    """Yield seconds per map for each way and sampler; the published way evaluates twice, on the whole canvas."""
    maker = Maker(options)
    backends = [name for name in attention_backends(options) if name != "torch"][-1:] or ["torch"]
    samplers = FEW[:1] if options.tiny else FEW
    ways = [("compiled", name, one) for name in backends for one in samplers]
    ways += [("dense", name, FEW[0]) for name in dict.fromkeys(["torch", *backends])]
    ways += [] if options.tiny else [("published", "torch", FEW[0]), ("published", "torch", FEW[-1])]
    works = {f"{mode}, {backend}, {one[0]}:{one[1]}": lambda way=(mode, backend, one): maker.measure(*way)
             for mode, backend, one in ways}  # fmt: skip
    yield from attempts(options, works)


class Maker:
    """The network, built once for all rows."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.shape = Shape.parse(TINY if options.tiny else PUBLISHED)
        self._network: nn.Module | None = None

    @property
    def network(self) -> nn.Module:
        """The network on the device."""
        if self._network is None:
            views = 1 + self.shape.layout.views
            with self.options.torch_device:
                network = build_dit(self.shape.name, n_views=views, n_views_emb=max(4, views))
            self._network = inference_network(network, self.options)
        return self._network

    def measure(self, mode: str, backend: str, sampler: tuple[str, int]) -> Row:
        """Measure one way with one sampler."""
        options, layout, (name, steps) = self.options, self.shape.layout, sampler
        kernels.use(replace(kernels.Backends(), attention=backend))
        network = self.network
        config = network.config
        if mode == "published":
            shape = 1, 512 * (1 + layout.views), config.crossattn_emb_channels
            network = WithGuidance(network, torch.zeros(shape, device=options.device, dtype=options.dtype))
        asked = torch.compile(network) if mode == "compiled" and options.device == "cuda" else network
        denoiser = LidarGenDenoiser(asked, layout, compute_dtype=options.dtype, dense=mode != "published")
        images = torch.randn(1, layout.views, 16, *layout.image, device=options.device)
        schedule = sigma_ladder(steps)

        def sample() -> Tensor:
            return sample_lidar(denoiser, images, lambda x0, noise: solve(name, x0, noise, schedule), [1])

        count = evaluations(name, steps) * (2 if mode == "published" else 1)
        warm = sigma_ladder(1)
        sample_lidar(denoiser, images, lambda x0, noise: solve(name, x0, noise, warm), [1])  # compiles
        before = start_counting_memory(options.torch_device)
        first, seconds = seconds_of(sample, options.torch_device, 1)
        seconds = min(first, seconds)
        peak = (peak_mib(options.torch_device) - before) / 1024
        speed = {"evaluations": count, "map_s": seconds, "evaluation_ms": 1e3 * seconds / count}
        return {"network": self.shape.name, **speed, "peak_gib": peak}
