"""`python -m tusd_py` is the same as the command `tusd-py`."""

from tusd_py.cli.main import main

raise SystemExit(main())
