#!/usr/bin/env bash
# One rank of a job, started by srun once per GPU: sets torch.distributed's variables from SLURM's, then runs the command.
set -euo pipefail

# A signal to a job step reaches every process in it. Ignored here means ignored by the processes that the command starts
# (data loaders); training itself handles SIGUSR1 once it runs, and the batch script repeats the signal.
trap '' USR1

export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_RANK=$SLURM_LOCALID LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES)) GROUP_RANK=$SLURM_NODEID
# Lightning uses the variables above if this one is set. Otherwise it detects SLURM by itself and installs a SIGUSR1
# handler of its own, which saves to another folder and requeues the job in the middle of the save.
export TORCHELASTIC_RUN_ID=slurm-$SLURM_JOB_ID
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}

exec "$@"
