"""``python -m trainonce``."""

from trainonce.cli.app import main

main()
