"""Frechet distance of videos (FVD, Unterthiner et al. 2018): feature extractors and distance.

Numbers of different networks cannot be compared: each carries the network's name and the hash of its
weights. Published rFVD values are of ``I3dFeatures`` with the TorchScript file of StyleGAN-V (``i3d_torchscript.pt``);
``r3d_18`` is what torchvision installs.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Protocol as Interface

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256
from cosmos_lidar.metrics.frechet import FeatureStatistics, frechet_distance, frechet_protocol
from cosmos_lidar.metrics.protocol import Measurement
from cosmos_lidar.models.pretrained import R3D_18, load_weights, torchvision_module

_I3D_WANTED = "the TorchScript I3D of StyleGAN-V (i3d_torchscript.pt, 400 Kinetics logits per clip)"
I3D_SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"
_I3D_LARGEST = 1 << 28
_I3D_FRAMES = 10  # fewer leave its temporal poolings without frames
_KINETICS_MEAN, _KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


class VideoFeatures(Interface):
    """Feature extractor of clips.

    Attributes:
        name: of the network and its weights: numbers of equal names may be compared.
    """

    name: str

    def __call__(self, video: Tensor) -> Tensor:
        """Return (B, D) for clips (B, 3, T, H, W) in [-1, 1]."""


class I3dFeatures:
    """Kinetics logits of a TorchScript I3D, on frames resized to 224 x 224.

    A TorchScript file is a program: only the published one is run, recognized by its SHA-256.

    Args:
        path: of ``i3d_torchscript.pt``.
        device: to compute on.
        sha256: of the file; of another one only where you know what it does.

    Raises:
        DataError: no such file, or another one, of which nothing is run.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu", sha256: str = I3D_SHA256) -> None:
        path = Path(path)
        if not path.is_file():
            raise DataError("no such file", file=path, wanted=_I3D_WANTED)
        self.network = _run_known(path, sha256, device)
        self.device = device
        self.name = f"i3d_torchscript, 224 x 224 bilinear, sha256 {sha256[:12]}"

    @torch.no_grad()
    def __call__(self, video: Tensor) -> Tensor:
        """Return (B, 400) for clips (B, 3, T, H, W) in [-1, 1], T >= 10.

        Raises:
            DataError: fewer frames.
        """
        if video.shape[2] < _I3D_FRAMES:
            raise DataError(f"clips of {video.shape[2]} frames", wanted=f"{_I3D_FRAMES} or more for I3D")
        frames = _resize(video.to(self.device).float().clamp(-1.0, 1.0), (224, 224))
        return self.network(frames, rescale=False, resize=False, return_features=True).float()


def _run_known(path: Path, sha256: str, device: str | torch.device) -> nn.Module:
    """Load a TorchScript file of known content; what is hashed is what is run."""
    size = path.stat().st_size
    content = path.read_bytes() if size <= _I3D_LARGEST else b""
    found = hashlib.sha256(content).hexdigest() if content else f"a file of {size} bytes"
    if found != sha256:
        problem = f"another file than the published one (SHA-256 {found}), and TorchScript files are programs: not run"
        raise DataError(problem, file=path, wanted=f"{_I3D_WANTED}, SHA-256 {sha256}")
    return torch.jit.load(io.BytesIO(content), map_location=device).eval()


class R3dFeatures:
    """Features of torchvision's ``r3d_18`` (Kinetics-400) before its last layer, with its published preprocessing.

    Frames are resized to 128 x 171, whatever their shape, and center-cropped to 112 x 112.

    Args:
        path: of its weights; empty takes them from torch's cache.
        device: to compute on.

    Raises:
        UserError: torchvision is not installed, or was built for another torch.
        DataError: no such file, or other weights.
    """

    def __init__(self, path: str | Path = "", device: str | torch.device = "cpu") -> None:
        file = R3D_18.find(path)
        models = torchvision_module("models.video", "r3d_18", "use I3D, whose file needs no package")
        network = models.r3d_18(weights=None)
        load_weights(network, file, R3D_18.wanted)
        network.fc = nn.Identity()
        self.network, self.device = network.eval().requires_grad_(False).to(device), device
        self.name = f"torchvision r3d_18, 128 x 171 crop 112 x 112, sha256 {file_sha256(file)[:12]}"

    @torch.no_grad()
    def __call__(self, video: Tensor) -> Tensor:
        """Return (B, 512) for clips (B, 3, T, H, W) in [-1, 1]."""
        frames = _resize(video.to(self.device).float().clamp(-1.0, 1.0), (128, 171))[..., 8:120, 30:142]
        mean, std = (frames.new_tensor(x).view(3, 1, 1, 1) for x in (_KINETICS_MEAN, _KINETICS_STD))
        return self.network(((frames + 1.0) / 2.0 - mean) / std)


def load_video_features(named: str, device: str | torch.device = "cpu") -> VideoFeatures:
    """Return the network for FVD that a command line names.

    Args:
        named: ``r3d_18`` for torchvision's weights in torch's cache, a file of them (``.pth``), or else the TorchScript
            file of I3D.
        device: to compute on.

    Raises:
        UserError: torchvision is needed and not installed.
        DataError: no such file, or other weights.
    """
    if named == "r3d_18" or named.endswith(".pth"):
        return R3dFeatures("" if named == "r3d_18" else named, device)
    return I3dFeatures(named, device)


class VideoDistance:
    """Reconstruction FVD: Frechet distance of the sets of reconstructed and recorded clips.

    Args:
        features: feature extractor.

    Attributes:
        recorded: statistics of the recordings; mergeable over ranks, as is ``made``.
        made: statistics of the reconstructions.
    """

    def __init__(self, features: VideoFeatures) -> None:
        self.features = features
        self.recorded, self.made = FeatureStatistics(features.name), FeatureStatistics(features.name)

    def add(self, reconstruction: Tensor, video: Tensor) -> None:
        """Add clips (B, 3, T, H, W) in [-1, 1] and their reconstructions.

        Raises:
            DataError: shapes that differ, or that the network cannot take.
        """
        if reconstruction.shape != video.shape or video.ndim != 5:
            shapes = f"{tuple(reconstruction.shape)} and {tuple(video.shape)}"
            raise DataError(f"clips of {shapes}", wanted="two of the same shape (B, 3, T, H, W)")
        for statistics, clips in ((self.made, reconstruction), (self.recorded, video)):
            statistics.add(self.features(clips).double().cpu().numpy())

    def result(self) -> Measurement:
        """Return the distance; without interval, as single vectors are not kept.

        Raises:
            DataError: fewer than two clips.
        """
        protocol = frechet_protocol("rfvd", self.features.name)
        value = frechet_distance(self.made, self.recorded)
        return Measurement("rfvd", value, float("nan"), float("nan"), self.made.count, protocol)


def _resize(video: Tensor, size: tuple[int, int]) -> Tensor:
    frames = F.interpolate(video.transpose(1, 2).flatten(0, 1), size=size, mode="bilinear", align_corners=False)
    return frames.unflatten(0, (len(video), -1)).transpose(1, 2)
