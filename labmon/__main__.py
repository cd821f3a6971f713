"""The program `labmon`, which is also `python -m labmon`.

It is a module of its own so that Ctrl-C in the tenths of a second in which the rest is loaded ends labmon as
quietly as it does later.
"""

import signal


def main() -> None:
    """Load the command line and run it. Until that has handlers of its own, an interrupt ends the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from labmon.cli import main as run

    run()


if __name__ == "__main__":
    main()
