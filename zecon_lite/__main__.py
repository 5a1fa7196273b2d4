"""`python -m zecon_lite`: the command line, where the console script is not on the path."""

from .cli import main

if __name__ == "__main__":
    main()
