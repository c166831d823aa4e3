"""Starting recipes: NeMo-Run executors, SLURM scripts, a Kubernetes manifest. The guide is docs/launch.md."""
