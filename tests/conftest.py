"""One thread everywhere: two suites on one machine otherwise cost many times one."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
