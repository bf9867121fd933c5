"""`python -m reid` is the command `reid`."""

from reid.commands import main

if __name__ == "__main__":
    main()
