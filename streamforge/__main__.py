"""`python -m streamforge`: the command line."""

from streamforge.cli import main

if __name__ == "__main__":
    main()
