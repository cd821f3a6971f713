"""`python -m labmon` is the same as `labmon`."""

from labmon.cli import main

if __name__ == "__main__":
    main()
