"""Run the command line as `python -m mfrkit`."""

from mfrkit.cli import main

if __name__ == "__main__":
    main()
