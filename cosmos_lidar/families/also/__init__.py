"""ALSO: self-supervised pre-training of sparse lidar backbones by occupancy (Boulch et al. 2023, arXiv 2212.05867)."""
