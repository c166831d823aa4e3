"""What each of two processes runs in test_ddp: train, note the samples it saw and the weights it ended with."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from cosmos_lidar.families.lidar_tokenizer import job as run_module
from cosmos_lidar.recipes.lidar_tokenizer import FAMILY


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    seen, batches = [], []
    make = run_module.make_data

    class Noting:
        def __init__(self, loader):
            self.loader = loader
            self.save_state_rank = loader.save_state_rank

        def __iter__(self):
            for batch in self.loader:
                seen.extend(zip(batch.__key__, batch.frame_ids, strict=True))
                batches.append(batch.images)
                yield batch

    def make_noted(run, where, share):
        data = make(run, where, share)
        return replace(data, train=Noting(data.train))

    run_module.make_data = make_noted
    result = FAMILY.train(FAMILY.load(folder / "config.yaml"))
    torch.save({"seen": seen, "batches": batches, "step": result.step}, folder / f"rank{rank}.pt")


main()
