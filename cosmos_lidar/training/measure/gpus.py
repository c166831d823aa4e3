"""Peak TFLOP/s of GPUs by name: dense matrix products in bfloat16."""

from __future__ import annotations

# From NVIDIA's data sheets, which give them with sparsity, twice as much. A key is a part of the name that CUDA gives a
# device; the first one that is found counts, so that "H100 NVL" is not taken for an "H100" of an SXM board.
PEAK_BF16_TFLOPS = {
    "H100 NVL": 835.5,
    "H100 PCIe": 756.5,
    "H200 NVL": 835.5,
    "H200": 989.4,
    "H100": 989.4,
    "H800": 989.4,
    "A100": 312.0,
    "A800": 312.0,
    "GB200": 2500.0,
    "B200": 2250.0,
    "L40S": 362.0,
}


def peak_bf16_tflops(device_name: str) -> float | None:
    """Return the peak of a GPU, such as ``NVIDIA H200``; None for one that is not in the table."""
    return next((peak for part, peak in PEAK_BF16_TFLOPS.items() if part in device_name), None)
