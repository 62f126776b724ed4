"""A kernel that ends when the process that started it does, from its first moment on.

ipykernel looks after its parent too, but only once it has loaded; one that is an orphan by then stays, unless process 1
has adopted it. On a desktop the session's own service manager does.
"""

import os
import sys

from workbench.runner.stops import when_parent_ends


def main() -> None:
    """Start a kernel by the arguments of ``ipykernel_launcher``."""
    if os.name == "posix":  # elsewhere this names a handle, of which ipykernel is told when it ends
        when_parent_ends(int(os.environ["JPY_PARENT_PID"]), lambda: os._exit(1))
    sys.modules.pop("rfc3987_syntax", None)  # what the runner does without, a notebook may want
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
