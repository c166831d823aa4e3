"""Semantic segmentation of lidar sweeps: a sparse backbone, pre-trained or not, fine-tuned with labels."""
