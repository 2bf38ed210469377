"""`python -m bench`: run | table | plot | profile."""

from bench.command import main

main()
