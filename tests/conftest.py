"""One thread everywhere: two suites on one machine otherwise cost many times one."""

import os
import signal

# A shell leaves what it starts in the background deaf to interrupts, and the programs under test would be so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
