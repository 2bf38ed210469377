"""`python -m bench`: run | table | docs | profile."""

from bench.command import main

main()
