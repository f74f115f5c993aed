"""`python -m tidegate`: the command line without the console script."""

from tidegate.entrypoints.cli import main

if __name__ == "__main__":
    main()
