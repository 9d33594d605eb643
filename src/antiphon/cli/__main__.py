"""``python -m antiphon.cli`` is the same as ``antiphon``."""

from antiphon.cli.main import main

main()
