"""`python -m doubleback`: the same command as `doubleback`."""

from doubleback.cli import main

if __name__ == "__main__":
    main()
