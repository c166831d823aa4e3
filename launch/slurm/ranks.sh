# shellcheck shell=bash
# Read by train.sbatch, and copied into the batch scripts that launch/nemo_run.py writes: start the ranks, forward
# SIGUSR1 to them, and requeue the job if they can resume.
#
# Exit status of the ranks      result
#   0     done                  the job exits with 0
#   2     wrong input           the job exits with 2: the same input would fail again
#   138   saved after SIGUSR1   requeue
#   143   saved after SIGTERM   requeue, unless the job was canceled
#   75    a rank hung           requeue
#   other                       the job exits with it
#
# MAX_RESTARTS   largest number of requeues (50)
# SAVE_S         seconds for the ranks to save after SIGUSR1 (100); less than --signal=B:USR1@… leaves
# RANK_WAIT_S    seconds until the other ranks are killed after one has exited (300)

say() { printf '%(%F %T)T job %s: %s\n' -1 "$SLURM_JOB_ID" "$*"; }

# Set the rendezvous address of the ranks: the first node, and a new port after each restart as the old one may be in use.
set_master() {
    MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    MASTER_PORT=$((20000 + (SLURM_JOB_ID * 7 + ${SLURM_RESTART_COUNT:-0}) % 20000))
    export MASTER_ADDR MASTER_PORT
}

requeue() { # STATUS
    local restarts=${SLURM_RESTART_COUNT:-0}
    if ((restarts >= ${MAX_RESTARTS:-50})); then
        say "status $1 after $restarts restarts (MAX_RESTARTS): not requeued"
    elif ! scontrol show job "$SLURM_JOB_ID" | grep -q 'JobState=RUNNING'; then
        say "status $1 and the job is not running any more (canceled?): not requeued"
    else
        say "status $1: requeued, restart $((restarts + 1)) will resume from the newest checkpoint"
        scontrol requeue "$SLURM_JOB_ID"
    fi
}

# Signal step NUMBER to save and stop, repeatedly: a rank that does not train yet ignores it. Ranks that take too long
# lose the work since their last checkpoint, but the job is requeued.
# shellcheck disable=SC2317 # called by the trap of run_ranks
stop_ranks() { # NUMBER
    local end=$((SECONDS + ${SAVE_S:-100}))
    say "SIGUSR1: signaling the ranks to save and stop"
    while ((SECONDS < end)); do
        scancel --signal=USR1 "$SLURM_JOB_ID.$1"
        sleep 5
    done
    say "ranks did not exit in ${SAVE_S:-100} s"
    requeue 138
}

# Run `srun ARGUMENTS` as step NUMBER of the job; returns the status of the ranks.
run_ranks() { # NUMBER ARGUMENTS...
    local number=$1 stopping='' step status late
    shift
    say "restart ${SLURM_RESTART_COUNT:-0}, $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST, $MASTER_ADDR:$MASTER_PORT"
    trap 'if [[ -z $stopping ]]; then stop_ranks "$number" & stopping=$!; fi' USR1
    trap 'say "SIGTERM: sent to the ranks, too"' TERM
    command srun "$@" &
    step=$!
    while kill -0 "$step" 2>/dev/null; do # a signal ends wait early
        wait "$step"
        status=$?
    done
    wait "$step" 2>/dev/null # the true status if the last wait was interrupted, else 127
    late=$?
    ((late == 127)) || status=$late
    [[ -z $stopping ]] || kill "$stopping" 2>/dev/null
    say "ranks exited with status $status"
    case $status in
        138 | 143 | 75) requeue "$status" ;;
    esac
    return "$status"
}
