"""Building blocks of models; parallelism lives in here and nowhere else."""
