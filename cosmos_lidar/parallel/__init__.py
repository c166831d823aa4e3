"""Parallelism over ranks: mesh, FSDP, tensor, context and spatial parallel, strategy, work sharing."""
