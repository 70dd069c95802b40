"""`python -m pyrt`: the command."""

from pyrt.cli.main import command

if __name__ == "__main__":
    command()
