"""A kernel that ends when the process that started it does, from its first moment on.

ipykernel looks after its parent too, but only once it has loaded; one that is an orphan by then stays, unless process 1
has adopted it. On a desktop the session's own service manager does.
"""

import os
import sys
import threading
import time

_POLL_SECONDS = 0.2


def follow(parent: int) -> None:
    """End this process, at once, when its parent is another one."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


def main() -> None:
    """Start a kernel by the arguments of ``ipykernel_launcher``."""
    if os.name == "posix":  # elsewhere this names a handle, of which ipykernel is told when it ends
        threading.Thread(target=follow, args=(int(os.environ["JPY_PARENT_PID"]),), daemon=True).start()
    sys.modules.pop("rfc3987_syntax", None)  # what the runner does without, a notebook may want
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
