#!/usr/bin/env bash
# One rank of a job, started by srun once per GPU: tells torch.distributed what SLURM knows, then becomes the command.
set -euo pipefail

# A signal to a job step reaches every process in it. Ignored here means ignored by the helpers that the command starts
# (data loaders); training itself takes SIGUSR1 over when it has begun to train, and the batch script repeats it.
trap '' USR1

export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_RANK=$SLURM_LOCALID LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES)) GROUP_RANK=$SLURM_NODEID
# Lightning trusts the variables above when this one is set. Otherwise it finds SLURM by itself and installs a SIGUSR1
# handler of its own, which saves to another folder and requeues the job in the middle of the save.
export TORCHELASTIC_RUN_ID=slurm-$SLURM_JOB_ID
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}

exec "$@"
