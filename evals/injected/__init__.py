"""Small real trainings with faults put in on purpose, each beside its twin without one."""
