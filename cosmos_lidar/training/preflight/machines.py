"""GPU machines for predictions of step time: peak TFLOP/s, memory, NVLink, PCIe and network bandwidth by name."""

from __future__ import annotations

from dataclasses import dataclass

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.measure.gpus import PEAK_BF16_TFLOPS as PEAKS


@dataclass(frozen=True)
class Machine:
    """One kind of GPU and the node that it is in; bandwidths are those of one GPU in one direction.

    Attributes:
        name: what users name it.
        bf16_tflops: dense peak of matrix products in bfloat16; FP8 has twice as many.
        fp32_tflops: peak in float32, without tensor cores.
        memory_gb: of one GPU, 1e9 bytes.
        memory_gb_s: bandwidth of that memory.
        gpus: of one node.
        island: GPUs that NVLink joins; the other ones of a node are reached over PCIe.
        nvlink_gb_s: to the GPUs of the same island.
        pcie_gb_s: to the other GPUs of the node; 0 where NVLink joins all.
        network_gb_s: to other nodes.
    """

    name: str
    bf16_tflops: float
    fp32_tflops: float
    memory_gb: float
    memory_gb_s: float
    gpus: int
    island: int
    nvlink_gb_s: float
    pcie_gb_s: float
    network_gb_s: float

    def peak_flops(self, precision: str) -> float:
        """Return the peak FLOP/s of matrix products in ``fp32``, ``bf16`` or ``fp8``."""
        tflops = {"fp32": self.fp32_tflops, "bf16": self.bf16_tflops, "fp8": 2 * self.bf16_tflops}
        return 1e12 * tflops[precision]


# Sources: NVIDIA's data sheets of H100 (SXM and NVL), H200 and HGX B200, which give NVLink and PCIe in both directions
# together (twice the numbers here). Network: one ConnectX-7 of 400 Gbit/s per GPU, as in DGX H100, DGX H200 and
# DGX B200. H100 NVL has no such reference node: two GPUs to a bridge, PCIe 5.0 x16 between bridges, and one adapter
# of 400 Gbit/s for two GPUs are assumed.
MACHINES = {
    machine.name: machine
    for machine in (
        Machine("h100-sxm", PEAKS["H100"], 66.9, 80.0, 3350.0, 8, 8, 450.0, 0.0, 50.0),
        Machine("h100-nvl", PEAKS["H100 NVL"], 60.0, 94.0, 3900.0, 8, 2, 300.0, 64.0, 25.0),
        Machine("h200", PEAKS["H200"], 66.9, 141.0, 4800.0, 8, 8, 450.0, 0.0, 50.0),
        Machine("b200", PEAKS["B200"], 75.0, 180.0, 7700.0, 8, 8, 900.0, 0.0, 50.0),
    )
}


def find_machine(name: str) -> Machine:
    """Return the machine of that name.

    Raises:
        UserError: an unknown name; the message has the valid ones.
    """
    if name not in MACHINES:
        raise UserError(f"--machine {name}: unknown; valid: {', '.join(MACHINES)}")
    return MACHINES[name]
