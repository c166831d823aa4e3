"""Sparse 3-D convolutional networks of lidar voxels, in pure torch, on CPU and CUDA."""

from cosmos_lidar.models.sparse.build import build_backbone
from cosmos_lidar.models.sparse.conv import SparseConv3d
from cosmos_lidar.models.sparse.load import load_backbone
from cosmos_lidar.models.sparse.tensor import SparseTensor

__all__ = ["SparseConv3d", "SparseTensor", "build_backbone", "load_backbone"]
