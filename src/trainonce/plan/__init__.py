"""From a study to a plan: the jobs that answer it, with cost, power and reasons."""
