"""Trials: functions run over executors, each finished one a file named by what went into it."""

from workbench.sweeps.executors import default_workers, require_executor
from workbench.sweeps.sweep import Sweep, Trial, TrialError, read_trial, trial_digest

__all__ = ["Sweep", "Trial", "TrialError", "default_workers", "read_trial", "require_executor", "trial_digest"]
