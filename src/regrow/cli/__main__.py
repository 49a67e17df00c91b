"""`python -m regrow.cli`: the command line where the installed command is not on the path."""

from regrow.cli.main import main

if __name__ == "__main__":
    main()
