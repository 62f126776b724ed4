"""``python -m workbench`` is the command ``workbench``."""

from workbench.runner.stops import leaving_at_signals


def main() -> None:
    """Run the command line; signals end it without a traceback from its first moment on."""
    with leaving_at_signals():
        from workbench.runner import cli

        cli.main()


if __name__ == "__main__":
    main()
